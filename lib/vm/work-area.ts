/** Where this room keeps its temporary folders: one area for each user of the machine. */
import { lstat } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import path from 'node:path';
import { RootloomError } from '../errors.js';
import { makeFolder } from '../util/atomic-file.js';
import { OwnedFolder, sweepOwnedFolders } from '../util/owned-folder.js';
import { withSystemErrors } from '../util/system-error.js';

/**
 * Makes a temporary folder that goes with this process, and removes those of processes that were killed. Rejects with
 * NOT_FOUND, IO, NO_SPACE, BUSY when somebody else has taken the area's name, or `signal.reason`.
 *
 * @param area Default: a folder of this user's in the system's temporary folder.
 */
export async function makeWorkFolder(
  { area = defaultArea() }: { area?: string | undefined } = {},
  signal?: AbortSignal,
): Promise<OwnedFolder> {
  await makeFolder(area, 0o700);
  await checkOwner(area);
  await sweepOwnedFolders(area, signal);
  return OwnedFolder.create(area, signal);
}

function defaultArea(): string {
  return path.join(tmpdir(), `rootloom-${userInfo().uid}`);
}

/** Anybody may make any name in the system's temporary folder; sockets and memory are not to be put into their hands. */
async function checkOwner(area: string): Promise<void> {
  const info = await withSystemErrors('look at', area, () => lstat(area));
  if (info.isDirectory() && info.uid === userInfo().uid && (info.mode & 0o022) === 0) return;
  const message = `Cannot use ${area}: it is not a folder that only this user can change, remove it or set TMPDIR`;
  throw new RootloomError('BUSY', message, { operation: 'make a temporary folder', path: area });
}

/** The files of a snapshot: "state" and "memory", in a folder. What machine they are of is for the caller to keep. */
import { link, rm } from 'node:fs/promises';
import path from 'node:path';
import { copyDeviceToFile, openFileDevice } from '../native/device.js';
import { makeFolder } from '../util/atomic-file.js';
import { isSystemError, withSystemErrors } from '../util/system-error.js';
import type { VmSnapshot } from './driver.js';

export type SnapshotFiles = Pick<VmSnapshot, 'stateFile' | 'memoryFile'>;

/** Has `body` write state and memory. When that fails neither is left. */
export async function writeSnapshot(
  dir: string,
  body: (files: SnapshotFiles) => Promise<void>,
): Promise<SnapshotFiles> {
  const folder = path.resolve(dir);
  const files = { stateFile: path.join(folder, 'state'), memoryFile: path.join(folder, 'memory') };
  await makeFolder(folder);
  try {
    await body(files);
    return files;
  } catch (error) {
    for (const file of Object.values(files)) await rm(file, { force: true });
    throw error;
  }
}

/** `take` gives the memory file a second name, where that is possible; everything else is a sparse copy. */
export async function captureMemory(
  source: string,
  target: string,
  how: 'take' | 'copy',
  signal: AbortSignal | undefined,
): Promise<void> {
  if (how === 'take' && (await linkFile(source, target))) return;
  await using device = await openFileDevice(source, { signal });
  await copyDeviceToFile(device, target, { signal });
}

/** False when the two would be on different filesystems, or on one without links. */
async function linkFile(source: string, target: string): Promise<boolean> {
  return withSystemErrors('write', target, async () => {
    try {
      await link(source, target);
      return true;
    } catch (error) {
      if (isSystemError(error, 'EXDEV', 'EPERM')) return false;
      throw error;
    }
  });
}

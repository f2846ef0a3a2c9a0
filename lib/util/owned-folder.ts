/**
 * Temporary folders whose owner is known, so that what a killed process left is found and removed, and nothing else.
 *
 * An area is a folder of owned folders. Each holds a beacon named `owner`; making one and sweeping are done under the
 * area's lock, so a folder without a living beacon is never one that is just being made.
 */
import { randomUUID } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { makeFolder } from './atomic-file.js';
import { Beacon, probeBeacon } from './beacon.js';
import { withFileLock } from './file-lock.js';
import { listIfThere } from './lookup.js';
import { isSystemError, withSystemErrors } from './system-error.js';

const LOCK_NAME = 'lock';
const BEACON_NAME = 'owner';

/** A temporary folder of this process. Disposing of it removes it with all that is in it. */
export class OwnedFolder implements AsyncDisposable {
  #removal: Promise<void> | undefined;

  private constructor(
    /** Absolute when the area was. Anything may be put into it except a file named "owner". */
    readonly path: string,
    private readonly beacon: Beacon,
  ) {}

  /** Makes a folder in `area`, which is made when it is missing. Rejects with IO, NO_SPACE or `signal.reason`. */
  static async create(area: string, signal?: AbortSignal): Promise<OwnedFolder> {
    await makeFolder(area);
    return withSystemErrors('create a temporary folder in', area, () =>
      withFileLock(join(area, LOCK_NAME), signal, async () => {
        const path = join(area, randomUUID());
        await mkdir(path, { mode: 0o700 });
        const beacon = (await Beacon.light(path, BEACON_NAME)) as Beacon; // The folder is new, so the name is free.
        return new OwnedFolder(path, beacon);
      }),
    );
  }

  /** Removes the folder; idempotent. A sweep may help: once the beacon's name is gone, it removes what it still finds. */
  remove(): Promise<void> {
    this.#removal ??= withSystemErrors('remove', this.path, async () => {
      try {
        await rm(this.path, { recursive: true, force: true });
      } finally {
        this.beacon.leave();
      }
    });
    return this.#removal;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.remove();
  }
}

/**
 * Removes the folders in `area` whose owner is provably gone, or that never had one, and resolves with how many. A missing area
 * has none. Rejects with IO, or with `signal.reason` between two folders.
 */
export async function sweepOwnedFolders(area: string, signal?: AbortSignal): Promise<number> {
  return withSystemErrors('sweep', area, async () => {
    const isEmpty = (await listFolders(area)).length === 0;
    if (isEmpty) return 0;
    const ownerless = await withFileLock(join(area, LOCK_NAME), signal, () => listOwnerless(area));
    // Without the lock, for it may take long: names are never used again, so what has no owner now never gets one.
    for (const path of ownerless) {
      signal?.throwIfAborted();
      await rm(path, { recursive: true, force: true });
    }
    return ownerless.length;
  });
}

async function listOwnerless(area: string): Promise<string[]> {
  const found: string[] = [];
  for (const name of await listFolders(area)) {
    const path = join(area, name);
    if (!(await isOwned(path))) found.push(path);
  }
  return found;
}

async function listFolders(area: string): Promise<string[]> {
  return (await listIfThere(area)).filter((name) => name !== LOCK_NAME);
}

/** False when the owner is provably gone; a folder that its owner has just removed counts as gone too. */
async function isOwned(path: string): Promise<boolean> {
  try {
    return (await probeBeacon(path, BEACON_NAME)) === 'alive';
  } catch (error) {
    if (isSystemError(error, 'ENOENT', 'ENOTDIR')) return false;
    throw error;
  }
}

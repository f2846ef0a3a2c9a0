/**
 * Mutual exclusion between processes that share a folder. It ends with its holder, however that ends: nothing goes stale.
 *
 * The lock is a folder of numbered beacons, and its holder is the one alive at the highest number. To take it one lights the
 * next number, which only one can, and looks again: if somebody has got further in the meantime one steps back. The highest
 * number is only ever removed by who lit a higher one, so a latecomer who acts on an old listing always finds out. The folder
 * holds these few names only, which one reading of it, a single step in the kernel, lists together.
 */
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { RootloomError } from '../errors.js';
import { makeFolder } from './atomic-file.js';
import { Beacon, probeBeacon, removeDeadClaims, waitForBeaconEnd } from './beacon.js';
import { withSystemErrors } from './system-error.js';

export interface LockOptions {
  signal?: AbortSignal | undefined;
  /** Wait for the holder (default), or reject with BUSY. */
  wait?: boolean;
}

/** A held lock. Locks of one process exclude each other too. */
export class FileLock implements Disposable {
  private constructor(private readonly beacon: Beacon) {}

  /**
   * Takes the lock of `folder`, which is made when it is missing and belongs to the lock alone. Rejects with BUSY (only with
   * `wait: false`), IO, or `signal.reason`. Waiting takes no turns: any of those who wait may be the next.
   */
  static async acquire(folder: string, options: LockOptions = {}): Promise<FileLock> {
    await makeFolder(folder);
    return withSystemErrors('lock', folder, () => acquire(folder, options)).then(
      (beacon) => new FileLock(beacon),
    );
  }

  [Symbol.dispose](): void {
    this.beacon.leave();
  }
}

/** Runs `body` while holding the lock of `folder`. */
export async function withFileLock<Value>(
  folder: string,
  signal: AbortSignal | undefined,
  body: () => Promise<Value>,
): Promise<Value> {
  using _lock = await FileLock.acquire(folder, { signal });
  return await body();
}

async function acquire(folder: string, { signal, wait = true }: LockOptions): Promise<Beacon> {
  for (;;) {
    signal?.throwIfAborted();
    const seen = await highestNumber(folder);
    const state = await probeBeacon(folder, String(seen));
    if (state === 'absent' && seen > 0) continue; // Superseded since the listing.
    if (state === 'alive') {
      if (!wait)
        throw new RootloomError('BUSY', `Cannot lock ${folder}: it is held, wait for its holder`, {
          path: folder,
        });
      await waitForBeaconEnd(folder, String(seen), signal);
      continue;
    }
    const mine = seen + 1;
    const beacon = await Beacon.light(folder, String(mine));
    if (beacon === undefined) continue;
    try {
      if ((await highestNumber(folder)) === mine) {
        await removeBelow(folder, mine);
        return beacon;
      }
      await rm(beacon.path, { force: true });
    } catch (error) {
      beacon.leave();
      throw error;
    }
    beacon.leave();
  }
}

async function numbers(folder: string): Promise<number[]> {
  return (await readdir(folder)).filter((name) => /^\d+$/.test(name)).map(Number);
}

async function highestNumber(folder: string): Promise<number> {
  return Math.max(0, ...(await numbers(folder)));
}

async function removeBelow(folder: string, mine: number): Promise<void> {
  for (const number of await numbers(folder)) {
    if (number < mine) await rm(join(folder, String(number)), { force: true });
  }
  await removeDeadClaims(folder);
}

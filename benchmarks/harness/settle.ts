/** A turn begins when the disk has done what the turns before gave it to do. */
import { readFile, stat } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';

const INTERVAL_MS = 250;
/** Of an interval, when others use the disk a little all the time. */
const MOST_BUSY_SHARE = 0.05;
/** They may also use it without an end. */
const LIMIT_MS = 30_000;

/** How many milliseconds the device of this number was busy since it exists, by what /proc/diskstats says; undefined if that lists none. */
export function busyMilliseconds(
  diskstats: string,
  device: { major: number; minor: number },
): number | undefined {
  for (const line of diskstats.split('\n')) {
    const fields = line.trim().split(/\s+/).map(Number);
    if (fields[0] === device.major && fields[1] === device.minor) return fields[12];
  }
  return undefined;
}

/** The number of a device as stat gives it. */
export function splitDeviceNumber(dev: number): { major: number; minor: number } {
  const bits = BigInt(dev);
  const major = ((bits >> 8n) & 0xfffn) | ((bits >> 32n) & 0xfffff000n);
  return { major: Number(major), minor: Number((bits & 0xffn) | ((bits >> 12n) & 0xffffff00n)) };
}

/**
 * Stores what was written to the folder's filesystem, and waits until its disk is idle: a filesystem gives back the space of removed
 * gigabytes, and a disk goes on storing, for seconds after everything was synced. The next turn would wait for it, and be
 * measured by what the one before it has left. Gives up after half a minute. A filesystem without a disk is only synced.
 */
export async function settle(folder: string): Promise<void> {
  await execa('sync', ['--file-system', folder]);
  const device = splitDeviceNumber((await stat(folder)).dev);
  const readBusy = async () => busyMilliseconds(await readFile('/proc/diskstats', 'utf8'), device);
  const end = performance.now() + LIMIT_MS;
  for (let before = await readBusy(); before !== undefined && performance.now() < end; ) {
    await sleep(INTERVAL_MS);
    const after = (await readBusy()) ?? before;
    if (after - before <= INTERVAL_MS * MOST_BUSY_SHARE) return;
    before = after;
  }
}

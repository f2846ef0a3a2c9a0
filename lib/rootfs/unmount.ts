/**
 * Takes filesystems off devices, in this process's mount namespace.
 *
 * While one is taken off the kernel writes to its device, which threads of this very process may serve: so the system call is
 * made by a program of its own, and nothing here opens, reads or looks at anything below a mount point.
 */
import { constants } from 'node:fs';
import { open, readFile } from 'node:fs/promises';
import path from 'node:path';
import { isRootloomError, RootloomError } from '../errors.js';
import { listIfThere } from '../util/lookup.js';
import { type MountEntry, readMountTable } from '../util/mount-table.js';
import { findPathUsers, type PathUser } from '../util/path-users.js';
import { isSystemError } from '../util/system-error.js';
import { runTool } from '../util/tool.js';

/** `major:minor` of a block device and of its partitions, as the mount table has them. */
async function numbersOf(device: string): Promise<string[]> {
  const name = path.basename(device);
  const folder = `/sys/class/block/${name}`;
  const partitions = (await listIfThere(folder)).filter((entry) => entry.startsWith(`${name}p`));
  const files = [folder, ...partitions.map((partition) => `${folder}/${partition}`)].map(
    (each) => `${each}/dev`,
  );
  return Promise.all(files.map(async (file) => (await readFile(file, 'latin1').catch(() => '')).trim()));
}

const isOn = (numbers: readonly string[]) => (entry: MountEntry) => numbers.includes(entry.device);

/** Where a device, or a partition of it, is mounted, in the order of mounting. */
export async function findMounts(device: string): Promise<MountEntry[]> {
  const isOurs = isOn(await numbersOf(device));
  return (await readMountTable()).filter(isOurs);
}

const USE_TEXTS: Record<PathUser['use'], string> = {
  'root folder': 'has its root there',
  'working folder': 'works in it',
  program: 'runs from it',
  'open file': 'has a file open',
  'mapped file': 'has a file mapped',
};

/** "bash (pid 12) works in it, /mnt/a/b is mounted below". */
async function describeUsers(mountPoint: string): Promise<string> {
  const below = (await readMountTable()).filter((entry) => entry.path.startsWith(`${mountPoint}/`));
  const users = await findPathUsers(mountPoint);
  const texts = [
    ...users.map(({ pid, name, use }) => `${name} (pid ${pid}) ${USE_TEXTS[use]}`),
    ...below.map((entry) => `${entry.path} is mounted below`),
  ];
  return texts.join(', ') || 'by what /proc does not tell';
}

async function runUnmount(mountPoint: string, lazily: boolean): Promise<void> {
  // Canonicalising would look at the mount point, which may be dead.
  const args = ['--no-canonicalize', ...(lazily ? ['--lazy'] : []), '--', mountPoint];
  await runTool('umount', args, `unmount ${mountPoint}`);
}

/** True when umount's complaint is the kernel's EBUSY. Its exit codes do not tell; in the C locale its words are fixed. */
function isBusy(error: unknown): boolean {
  return isRootloomError(error, 'IO') && (error.context.logTail ?? []).some((line) => /\bbusy\b/.test(line));
}

function busy(mountPoint: string, why: string, cause?: unknown): RootloomError {
  const operation = `unmount ${mountPoint}`;
  const message = `Cannot ${operation}: it is in use (${why}), no user is allowed`;
  return new RootloomError('BUSY', message, { operation, path: mountPoint }, { cause });
}

/**
 * Unmounts a device from one path; when it is not mounted there any more, that is fine. Rejects with BUSY, naming who holds it as
 * far as /proc tells, and it is still mounted then; TOOL_MISSING; IO.
 */
export async function unmount(device: string, mountPoint: string): Promise<void> {
  const isOurs = isOn(await numbersOf(device));
  const there = (await readMountTable()).filter((entry) => entry.path === mountPoint);
  if (!there.some(isOurs)) return;
  const top = there.at(-1) as MountEntry;
  if (!isOurs(top)) throw busy(mountPoint, `${top.source} is mounted over it`);
  try {
    await runUnmount(mountPoint, false);
  } catch (error) {
    if (isBusy(error)) throw busy(mountPoint, await describeUsers(mountPoint), error);
    const isGone = !(await findMounts(device)).some((entry) => entry.path === mountPoint);
    if (!isGone) throw error;
  }
}

/** How a device was freed of its mounts. */
export interface Unmounted {
  device: string;
  path: string;
  /** True when it was in use, and lives on out of sight. */
  lazily: boolean;
  /** Why lazily: who used it. */
  reason?: string;
}

/**
 * Unmounts all that is mounted from a device, last first. Where it is in use it is unmounted lazily: out of sight, while whoever
 * uses files keeps them, until the last one ends. What another filesystem is mounted over stays. Rejects with TOOL_MISSING or IO.
 */
export async function unmountByForce(device: string): Promise<Unmounted[]> {
  const done: Unmounted[] = [];
  for (const { path: mountPoint } of (await findMounts(device)).reverse()) {
    try {
      await unmount(device, mountPoint);
      done.push({ device, path: mountPoint, lazily: false });
    } catch (error) {
      if (!isRootloomError(error, 'BUSY')) throw error;
      const top = (await readMountTable()).findLast((entry) => entry.path === mountPoint);
      if (top !== undefined && isOn(await numbersOf(device))(top)) await runUnmount(mountPoint, true);
      done.push({ device, path: mountPoint, lazily: true, reason: error.message });
    }
  }
  return done;
}

/**
 * Rejects with BUSY when somebody has a device for himself: a filesystem that is mounted here or in another mount namespace, or
 * was unmounted lazily and is in use; device mapper; swap.
 */
export async function throwIfHeld(device: string, operation: string): Promise<void> {
  const [mount] = await findMounts(device);
  const holder = mount === undefined ? await findHolder(device) : `mounted on ${mount.path}`;
  if (holder === undefined) return;
  const message = `Cannot ${operation} ${device}: it is ${holder}, it must not be in use`;
  throw new RootloomError('BUSY', message, { operation, path: device });
}

async function findHolder(device: string): Promise<string | undefined> {
  try {
    const handle = await open(device, constants.O_RDONLY | constants.O_EXCL);
    await handle.close();
    return undefined;
  } catch (error) {
    if (isSystemError(error, 'EBUSY')) return 'held by a filesystem out of sight, device mapper or swap';
    return undefined; // A device that is dead or gone has no holder to wait for.
  }
}

/** One build's disk, mounted in a folder of this machine by its own kernel. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { realpath, stat } from 'node:fs/promises';
import { RootloomError } from '../errors.js';
import type { Store } from '../storage/store.js';
import { Cleaner } from '../util/cleaner.js';
import { parseMountTable, readMountTable } from '../util/mount-table.js';
import { withSystemErrors } from '../util/system-error.js';
import { runTool } from '../util/tool.js';
import { type AttachedRootfs, type AttachRootfsOptions, attachRootfs } from './attach-rootfs.js';
import { CLOSE_TIMEOUT_MS } from './attached-disk.js';
import { type Unmounted, unmount } from './unmount.js';

export interface MountRootfsOptions extends AttachRootfsOptions {
  /** As `mount -o` takes them, behind `nosuid` and `nodev`: the image is not trusted to give anybody rights on this machine. */
  options?: readonly string[] | undefined;
}

/** The program would wait for the kernel, and the kernel for our threads, which are still there when this is used. */
const EXIT_TIMEOUT_MS = 10_000;

/** The devices that this process has mounted, by their mount points. */
const mounted = new Map<string, string>();

/** A mount whose process has gone is a dead one, so what nobody closed is unmounted when the process exits in any way that it notices. */
function unmountAtExit(): void {
  const options = { stdio: 'ignore', timeout: EXIT_TIMEOUT_MS } as const;
  for (const { path: mountPoint, source } of parseMountTable(
    readFileSync('/proc/self/mountinfo', 'latin1'),
  )) {
    if (mounted.get(mountPoint) !== source) continue;
    const args = ['--no-canonicalize', '--', mountPoint];
    if (spawnSync('umount', args, options).status !== 0) spawnSync('umount', ['--lazy', ...args], options);
  }
}

function remember(mountPoint: string, device: string): void {
  if (mounted.size === 0) process.on('exit', unmountAtExit);
  mounted.set(mountPoint, device);
}

function forget(mountPoint: string): void {
  mounted.delete(mountPoint);
  if (mounted.size === 0) process.off('exit', unmountAtExit);
}

/**
 * A mounted disk. Writes go to an overlay, which is gone in the end: the build never changes. The end has one order:
 * unmount → flush → detach → the overlay is removed.
 *
 * Threads of this process serve the device, and none of them ever waits for JavaScript: so this process, too, may use the files,
 * even synchronously.
 */
export class Mount implements AsyncDisposable {
  /** For `mountRootfs` only. */
  constructor(
    /** Absolute, without symbolic links. */
    readonly path: string,
    /** The device below. Close the mount, not this. */
    readonly attached: AttachedRootfs,
  ) {}

  /** `/dev/nbd3`. */
  get devicePath(): string {
    return this.attached.devicePath;
  }

  /** As `AttachedDisk.lost`. */
  get lost(): AbortSignal {
    return this.attached.lost;
  }

  /**
   * Unmounts, flushes, detaches, and removes the overlay. Rejects with BUSY, saying who uses it as far as /proc tells: it is
   * still mounted then, and can be closed again. Any other rejection: as `AttachedDisk.close`. Idempotent.
   */
  async close(): Promise<void> {
    if (!this.attached.ended) await unmount(this.devicePath, this.path);
    await this.attached.close();
    forget(this.path);
  }

  /**
   * The same at any price: where it is in use it is unmounted lazily, and the device taken away, so that whoever still uses the
   * files gets errors. Resolves with what was unmounted. Rejects as `close` does, but never with BUSY.
   */
  async forceClose(): Promise<Unmounted[]> {
    const unmounted = await this.attached.forceClose();
    forget(this.path);
    return unmounted;
  }

  /** As `close`, so with BUSY too. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** The folder without symbolic links. It must not be a mount point: what is mounted there would be hidden. */
async function resolveMountPoint(folder: string): Promise<string> {
  const operation = 'mount on';
  const place = await withSystemErrors(operation, folder, () => realpath(folder));
  const context = { operation, path: place };
  if (!(await withSystemErrors(operation, folder, () => stat(place))).isDirectory()) {
    throw new RootloomError(
      'INVALID_ARGUMENT',
      `Cannot mount on ${place}: it is no folder, one was wanted`,
      context,
    );
  }
  const [other] = (await readMountTable()).filter((entry) => entry.path === place);
  if (other === undefined) return place;
  const message = `Cannot mount on ${place}: ${other.source} is mounted there, a folder without a mount was wanted`;
  throw new RootloomError('BUSY', message, context);
}

function optionList(readOnly: boolean, options: readonly string[]): string {
  if (options.includes('')) {
    throw new TypeError('Cannot use the options of the mount: one of them is empty');
  }
  return ['nosuid', 'nodev', ...options, ...(readOnly ? ['ro'] : [])].join(',');
}

/**
 * Mounts a build's disk in a folder that exists. Needs root and the kernel's nbd driver. With `readOnly` (default false) nothing
 * can be written; otherwise writes go to an overlay that is thrown away in the end.
 *
 * Rejects with TypeError for options that can never be right; NOT_FOUND or INVALID_ARGUMENT for the folder, BUSY when
 * something is mounted there; as `attachRootfs` does; TOOL_MISSING; IO with the kernel's words when it does not take the filesystem or
 * an option. Nothing is left then.
 */
export async function mountRootfs(
  store: Store,
  buildId: string,
  folder: string,
  { options: mountOptions = [], ...options }: MountRootfsOptions = {},
): Promise<Mount> {
  const { readOnly = false, signal } = options;
  const list = optionList(readOnly, mountOptions);
  const place = await resolveMountPoint(folder);
  const attached = await attachRootfs(store, buildId, options);
  try {
    const args = ['--types', 'ext4', '--options', list, '--', attached.devicePath, place];
    await runTool('mount', args, `mount ${buildId} on ${place}`, { signal });
  } catch (error) {
    const cleaner = new Cleaner(`the mount of ${buildId}`, { timeoutMs: CLOSE_TIMEOUT_MS });
    // A program that was killed may have come so far as to mount.
    cleaner.defer('the attached disk', async () => void (await attached.forceClose()));
    return await cleaner.runAfter(error);
  }
  remember(place, attached.devicePath);
  options.logger?.debug({ buildId, device: attached.devicePath, path: place }, 'mounted a disk');
  return new Mount(place, attached);
}

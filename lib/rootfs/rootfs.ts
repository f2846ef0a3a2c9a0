/** One build's disk, opened: to look at its files, to serve it, to try something out on it. */
import path from 'node:path';
import type { Build } from '../artifact/build.js';
import { openBuild } from '../artifact/build.js';
import type { CallOptions } from '../native/call.js';
import type { Device } from '../native/device.js';
import { ext4 } from '../native/ext4.js';
import { type Ext4Tree, openTree, type TreeOptions } from '../native/ext4-tree.js';
import type { Ext4Stats, FsckOptions, FsckReport } from '../native/ext4-types.js';
import { type EngineOptions, type Isolation, validateIsolation } from '../native/isolation.js';
import { createOverlay } from '../native/overlay.js';
import type { Store } from '../storage/store.js';
import { Cleaner } from '../util/cleaner.js';
import { DISK_BLOCK_BYTES } from './disk-request.js';
import { isolationOf } from './isolation.js';

/** The signal aborts the opening. */
export interface OpenRootfsOptions extends CallOptions {
  /** Default false. Opens an overlay that takes writes and is thrown away at the end; the build never changes. */
  writable?: boolean | undefined;
  /** Where the engine works on the disk. Default: `none` for a disk that only this library has written, else `process`. */
  isolation?: Isolation | undefined;
}

/**
 * The disk of a build. Close it to release its devices and temporary files; calls that run are waited for.
 *
 * A disk whose journal was not replayed is opened on an overlay and replayed there, so that what is read is what the
 * guest would see; its build stays as it is.
 */
export class Rootfs implements AsyncDisposable {
  /** For `openRootfs` only. */
  constructor(
    readonly build: Build,
    /** The block device: the chain itself, or the overlay over it. */
    readonly device: Device,
    /** Where the engine works on it, unless a call says otherwise. */
    readonly isolation: Isolation,
    private readonly cleaner: Cleaner,
  ) {}

  /** Sizes, free space and state of the filesystem. Rejects with CORRUPT when there is none, IO, or the signal's reason. */
  stats(options: EngineOptions = {}): Promise<Ext4Stats> {
    return ext4.stats(this.device, { isolation: this.isolation, ...options });
  }

  /** e2fsck's verdict; a broken filesystem is a report, not an error. `repair` needs a writable rootfs. Fails as `ext4.fsck` does. */
  fsck(request: FsckOptions = {}, options: EngineOptions = {}): Promise<FsckReport> {
    return ext4.fsck(this.device, request, { isolation: this.isolation, ...options });
  }

  /** The files; writable when the rootfs is. The caller closes the tree, before the rootfs. Fails as the function `openTree` does. */
  openTree(options: Omit<TreeOptions, 'writable'> = {}): Promise<Ext4Tree> {
    return openTree(this.device, { writable: this.device.writable, isolation: this.isolation, ...options });
  }

  /** Waits for running calls, and releases devices and temporary files. Rejects with CLEANUP_FAILED. Idempotent. */
  close(): Promise<void> {
    return this.cleaner.run();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/**
 * Opens the disk of a build. Rejects with NOT_FOUND for an unknown build, CORRUPT when a header, a diff or the filesystem is
 * damaged, ENGINE_CRASHED, IO, or the signal's reason.
 */
export async function openRootfs(
  store: Store,
  buildId: string,
  { writable = false, isolation: wanted, signal, onProgress, logger }: OpenRootfsOptions = {},
): Promise<Rootfs> {
  validateIsolation(wanted);
  const cleaner = new Cleaner(`the disk of ${buildId}`);
  try {
    const build = await openBuild(store, buildId, { signal });
    const chain = cleaner.use('the chain', await build.openDisk({ signal }));
    const isolation = await isolationOf(build, wanted);
    const { needsRecovery } = await ext4.stats(chain, { signal, isolation });
    if (!writable && !needsRecovery) {
      return new Rootfs(build, chain, isolation, cleaner.move(`the disk of ${buildId}`));
    }
    const staging = cleaner.use('the temporary folder', await store.createStaging({ signal }));
    const upperPath = path.join(staging.path, 'rootfs.upper');
    const overlay = cleaner.use(
      'the overlay',
      await createOverlay(chain, { upperPath, blockSize: DISK_BLOCK_BYTES, signal }),
    );
    if (needsRecovery) {
      logger?.info({ buildId: build.id }, 'the journal was not replayed: replaying it on an overlay');
      await ext4.replayJournal(overlay, {
        ...{ signal, onProgress, isolation },
        scratchFolder: staging.path,
      });
    }
    if (!writable) await overlay.freeze({ signal });
    return new Rootfs(build, overlay, isolation, cleaner.move(`the disk of ${buildId}`));
  } catch (error) {
    return await cleaner.runAfter(error);
  }
}

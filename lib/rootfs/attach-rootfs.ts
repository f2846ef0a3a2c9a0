/** One build's disk as a /dev/nbdN of this machine. */
import { type Attachment, type AttachOptions, attach } from '../native/attachment.js';
import type { CallOptions } from '../native/call.js';
import type { Device } from '../native/device.js';
import type { Store } from '../storage/store.js';
import { Cleaner } from '../util/cleaner.js';
import { AttachedDisk, CLOSE_TIMEOUT_MS } from './attached-disk.js';
import { checkRootfs } from './check-rootfs.js';
import { DISK_BLOCK_BYTES } from './disk-request.js';
import { type OpenRootfsOptions, openRootfs, type Rootfs } from './rootfs.js';

export interface AttachRootfsOptions
  extends AttachOptions,
    Pick<CallOptions, 'onProgress' | 'logger'>,
    Pick<OpenRootfsOptions, 'isolation'> {
  /** Run `checkRootfs` first, and do not attach a disk that is not sound; default false. */
  check?: boolean | undefined;
  /** Gives what is attached in place of the disk, as a logging device over it. The caller closes it, after the end. */
  wrapDevice?: ((disk: Device) => Device) | undefined;
}

/** A build's disk, attached. Unless it is read-only, writes go to an overlay of its own: the build never changes. */
export class AttachedRootfs extends AttachedDisk {
  /** For `attachRootfs` only. */
  constructor(
    /** What is attached. Close the attached disk, not this. */
    readonly rootfs: Rootfs,
    attachment: Attachment,
    cleaner: Cleaner,
  ) {
    super(attachment, cleaner);
  }
}

/**
 * Opens a build's disk and attaches it. With `readOnly` (default false) it takes no writes; otherwise they go to an overlay that is
 * thrown away. The device's logical blocks are the filesystem's, up to 4096 bytes, unless said otherwise. Rejects as `openRootfs`, `checkRootfs` (with `check`) and `attach` do, and has left nothing then.
 */
export async function attachRootfs(
  store: Store,
  buildId: string,
  {
    check = false,
    isolation,
    wrapDevice,
    onProgress,
    logger,
    readOnly = false,
    ...options
  }: AttachRootfsOptions = {},
): Promise<AttachedRootfs> {
  const { signal } = options;
  const cleaner = new Cleaner(`the attached disk of ${buildId}`, { timeoutMs: CLOSE_TIMEOUT_MS });
  try {
    const call = { signal, onProgress, logger };
    const rootfs = cleaner.use(
      'the disk',
      await openRootfs(store, buildId, { writable: !readOnly, isolation, ...call }),
    );
    if (check) await checkRootfs(rootfs, call);
    const device = wrapDevice?.(rootfs.device) ?? rootfs.device;
    // A filesystem with blocks smaller than the device's cannot be mounted.
    const blockSize = options.blockSize ?? Math.min((await rootfs.stats(call)).blockSize, DISK_BLOCK_BYTES);
    const attachment = cleaner.use(
      'the attachment',
      await attach(device, { ...options, blockSize, readOnly }),
    );
    return new AttachedRootfs(rootfs, attachment, cleaner.move(`the attached disk of ${buildId}`));
  } catch (error) {
    return await cleaner.runAfter(error);
  }
}

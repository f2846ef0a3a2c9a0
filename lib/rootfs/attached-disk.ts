/** A disk that is attached to this machine's kernel, and how that ends. */
import { type Attachment, type AttachOptions, attach } from '../native/attachment.js';
import { emptyDevice } from '../native/empty-device.js';
import { Cleaner } from '../util/cleaner.js';
import { throwIfHeld, type Unmounted, unmountByForce } from './unmount.js';

/** What the kernel has not written out yet may take its time, and a request that hangs has a time-out of its own. */
export const CLOSE_TIMEOUT_MS = 10 * 60_000;

/**
 * A disk as a /dev/nbdN. What is written to it is gone in the end. The end has one order: nobody uses the device any more →
 * flush → detach → what it stood on is released.
 */
export class AttachedDisk implements AsyncDisposable {
  #closing: Promise<void> | undefined;
  #ended = false;

  /** For this room only. The cleaner's last step is the attachment. */
  constructor(
    /** Close the disk, not this. */
    readonly attachment: Attachment,
    private readonly cleaner: Cleaner,
  ) {}

  /** `/dev/nbd3`. */
  get devicePath(): string {
    return this.attachment.path;
  }

  /** Aborts, with the reason, when the kernel gives the device up by itself: then all I/O fails, and it is to be closed. */
  get lost(): AbortSignal {
    return this.attachment.lost;
  }

  /** True from the moment on when nothing keeps it from being released. */
  get ended(): boolean {
    return this.#ended;
  }

  /**
   * Flushes, detaches, and releases. Rejects with BUSY when the device is mounted or otherwise held: then all is as it was, and it
   * can be closed again. Any other rejection comes after the end: CLEANUP_FAILED when something that was written may be lost, or
   * could not be released. Idempotent.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close().finally(() => {
      if (!this.#ended) this.#closing = undefined;
    });
    return this.#closing;
  }

  /**
   * Ends it at any price, and flushes nothing: what is mounted from the device is unmounted, lazily where it is in use, and the
   * device is taken away from whoever still uses it. Resolves with what was unmounted. Rejects as `close` does, but never with BUSY.
   */
  async forceClose(): Promise<Unmounted[]> {
    const unmounted = await unmountByForce(this.devicePath);
    if (!this.#ended) {
      this.#ended = true;
      this.cleaner.dismiss(this.attachment);
      await this.attachment.discard().catch(() => {}); // BUSY where it is in use; it is cut off all the same.
    }
    await this.cleaner.run();
    return unmounted;
  }

  /** As `close`, so with BUSY too. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    if (!this.#ended && !this.lost.aborted) await throwIfHeld(this.devicePath, 'detach');
    this.#ended = true;
    await this.cleaner.run();
  }
}

/**
 * Attaches an empty disk of `size` bytes, whose content is gone in the end. Rejects with RangeError for a size that no disk can
 * have; as `emptyDevice` and `attach` do, and has left nothing then.
 */
export async function attachEmpty(size: number, options: AttachOptions = {}): Promise<AttachedDisk> {
  const cleaner = new Cleaner('the empty disk', { timeoutMs: CLOSE_TIMEOUT_MS });
  try {
    const device = cleaner.use('the device', await emptyDevice(size, { signal: options.signal }));
    const attachment = cleaner.use('the attachment', await attach(device, options));
    return new AttachedDisk(attachment, cleaner.move('the empty disk'));
  } catch (error) {
    return await cleaner.runAfter(error);
  }
}

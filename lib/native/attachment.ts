/** Attachments: a device bound to a `/dev/nbdN` of the kernel, to be mounted or given to a virtual machine. */
import { RootloomError } from '../errors.js';
import { addon, type DeviceHandle, type NativeCall, type NativeHandle } from './addon.js';
import { callNative, runNative } from './call.js';
import type { Device, SignalOptions } from './device.js';
import type { ExportStats } from './export.js';
import { OwnedHandle } from './handle.js';
import { type NbdPool, openNbdPool, type PoolHandle } from './nbd-pool.js';

type AttachmentHandle = NativeHandle<'attachment'>;

interface RawOptions {
  connections: number;
  readOnly: boolean;
  blockSize: number | undefined;
  timeoutSeconds: number;
  deadConnectionTimeoutSeconds: number;
  mechanism: AttachMechanism | undefined;
  scheduler: string | undefined;
  maxSectorsKb: number | undefined;
  readAheadKb: number | undefined;
}

interface RawInfo extends QueueSettings {
  path: string;
  index: number;
  mechanism: AttachMechanism;
  readOnly: boolean;
  blockSize: number;
  connectionCount: number;
}

const native = addon as {
  attach(
    pool: PoolHandle,
    device: DeviceHandle,
    options: RawOptions,
    onLost: () => void,
  ): NativeCall<AttachmentHandle>;
  attachmentInfo(handle: AttachmentHandle): RawInfo;
  attachmentStats(handle: AttachmentHandle): AttachmentStats;
  attachmentSync(handle: AttachmentHandle): NativeCall<void>;
  attachmentResize(handle: AttachmentHandle, size: number): NativeCall<void>;
  closeAttachment(handle: AttachmentHandle, flush: boolean): NativeCall<AttachmentStats>;
};

/** How the kernel is told: by generic netlink, or the older way by ioctl. */
export type AttachMechanism = 'netlink' | 'ioctl';

/** Requests of the kernel since the start; `connectionCount` are the connections that live. */
export type AttachmentStats = ExportStats;

/** Of the device's request queue. */
export interface QueueSettings {
  scheduler: string;
  /** The longest request. */
  maxSectorsKb: number;
  readAheadKb: number;
}

export interface AttachOptions extends SignalOptions {
  /** Between the kernel and this process, 1 to 16; default 1. */
  connections?: number | undefined;
  /** Refuses changes. A device that is not writable is attached so in any case. */
  readOnly?: boolean | undefined;
  /** Logical block of `/dev/nbdN` in bytes, 512 to 4096; default: the largest up to the device's that fits its size. */
  blockSize?: number | undefined;
  /** The longest that one request may take before the kernel gives its connection up; default 90, 0 for ever. */
  timeoutSeconds?: number | undefined;
  /**
   * How long requests wait once every connection is gone, before they fail; default 5. Netlink only: else they do not. When this
   * process is killed they fail within this time, too, and those that it had not answered with them.
   */
  deadConnectionTimeoutSeconds?: number | undefined;
  /** What is named here must come true; the rest is scheduler `none`, 1024 and 128 KiB where the machine allows it. */
  queue?: Partial<QueueSettings> | undefined;
  /** Default: netlink where the kernel has it, which it has in the initial network namespace only; else ioctl. */
  mechanism?: AttachMechanism | undefined;
  /** Default: one with the default folder. */
  pool?: NbdPool | undefined;
}

/**
 * A device under `/dev/nbdN`. The kernel's requests are served by native threads: no JavaScript runs for one, so this
 * process may use the mounted filesystem like any other. It does not keep the process alive. One that nobody closed is
 * closed, with a flush, when the process or its worker thread ends.
 */
export class Attachment implements AsyncDisposable {
  /** `/dev/nbd3`. */
  readonly path: string;
  readonly index: number;
  readonly mechanism: AttachMechanism;
  readonly readOnly: boolean;
  /** Logical block of `/dev/nbdN`, in bytes. */
  readonly blockSize: number;
  readonly connectionCount: number;
  /** As the kernel has them. */
  readonly queue: Readonly<QueueSettings>;
  /**
   * Aborts, with a RootloomError (IO), when the kernel gives up every connection without being asked to: after a request
   * that took too long, or when somebody else disconnected the device. All I/O fails from then on. `close`
   * rejects unless the attachment is read-only, since what was written last may not have arrived.
   */
  readonly lost: AbortSignal;
  readonly #owned: OwnedHandle<AttachmentHandle>;
  #finalStats: AttachmentStats | undefined;
  #flushes = true;

  /** For `attach` only. */
  constructor(handle: AttachmentHandle, lost: AbortSignal) {
    const info = callNative(() => native.attachmentInfo(handle));
    const { scheduler, maxSectorsKb, readAheadKb } = info;
    this.path = info.path;
    this.index = info.index;
    this.mechanism = info.mechanism;
    this.readOnly = info.readOnly;
    this.blockSize = info.blockSize;
    this.connectionCount = info.connectionCount;
    this.queue = { scheduler, maxSectorsKb, readAheadKb };
    this.lost = lost;
    this.#owned = new OwnedHandle(handle, 'attachment', async (open) => {
      this.#finalStats = { ...callNative(() => native.attachmentStats(open)), connectionCount: 0 };
      this.#finalStats = await runNative(() => native.closeAttachment(open, this.#flushes));
    });
  }

  /** The numbers so far; after `close` the final ones. */
  stats(): AttachmentStats {
    return { ...(this.#finalStats ?? callNative(() => native.attachmentStats(this.#owned.value))) };
  }

  /**
   * Makes durable what was written to `/dev/nbdN`, and rejects when a write to it since the start was lost. What a mounted
   * filesystem has not written yet is not in it: that is the business of its own `fsync` and `syncfs`.
   */
  async sync(): Promise<void> {
    await this.#owned.run((handle) => native.attachmentSync(handle));
  }

  /**
   * Tells the kernel another size, in bytes; what is open or mounted stays so. To grow, grow the device first; to shrink,
   * shrink the device afterwards. Rejects with INVALID_ARGUMENT for a size that the device does not have or that is no
   * multiple of `blockSize`.
   */
  async resize(size: number): Promise<void> {
    await this.#owned.run((handle) => native.attachmentResize(handle, size));
  }

  /**
   * Flushes, detaches, and waits until the kernel has let the device go and every request has ended. Unmount first: when
   * something still uses `/dev/nbdN`, it is detached all the same, and the call rejects with BUSY. Rejects with the error
   * of the flush when some of what was written may be lost. The device stays open.
   */
  close(): Promise<void> {
    return this.#owned.close();
  }

  /** The same without the flush, for a device that is about to be thrown away. The first of the two calls decides. */
  discard(): Promise<void> {
    if (!this.#owned.closed) this.#flushes = false;
    return this.#owned.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/**
 * Attaches a device to a free `/dev/nbdN`. It keeps what it needs of the device, which may be closed first, and of the
 * pool.
 *
 * Rejects with MODULE_MISSING when the kernel has no NBD driver loaded, with NO_PERMISSION, with BUSY when all devices are
 * in use, with INVALID_ARGUMENT when the device's size is no multiple of 512, with TOOL_MISSING when rootloom-guard, the helper
 * that disconnects what a killed process leaves, cannot be started. An aborted call leaves nothing behind.
 */
export async function attach(device: Device, options: AttachOptions = {}): Promise<Attachment> {
  if (options.pool !== undefined) return attachWith(options.pool, device, options);
  await using pool = await openNbdPool(options);
  return await attachWith(pool, device, options);
}

async function attachWith(pool: NbdPool, device: Device, options: AttachOptions): Promise<Attachment> {
  const raw = toRawOptions(options);
  const lost = new AbortController();
  const onLost = () => {
    const message = `Cannot reach ${attachment.path}: the kernel gave its connections up, close the attachment`;
    lost.abort(new RootloomError('IO', message, { operation: 'reach', path: attachment.path }));
  };
  const handle = await pool.owned.use((open) =>
    device.owned.run((inner) => native.attach(open, inner, raw, onLost), options),
  );
  const attachment = new Attachment(handle, lost.signal);
  return attachment;
}

function toRawOptions(options: AttachOptions): RawOptions {
  const { connections = 1, readOnly = false, blockSize, queue = {}, mechanism } = options;
  const { timeoutSeconds = 90, deadConnectionTimeoutSeconds = 5 } = options;
  const { scheduler, maxSectorsKb, readAheadKb } = queue;
  const times = { timeoutSeconds, deadConnectionTimeoutSeconds };
  for (const [name, seconds] of Object.entries(times)) {
    if (Number.isInteger(seconds) && seconds >= 0 && seconds <= MAX_TIMEOUT_SECONDS) continue;
    throw new RangeError(
      `Cannot use ${name}: it is ${seconds}, whole seconds up to ${MAX_TIMEOUT_SECONDS} are wanted`,
    );
  }
  return {
    connections,
    readOnly,
    blockSize,
    ...times,
    mechanism,
    scheduler,
    maxSectorsKb,
    readAheadKb,
  };
}

/** A day: the kernel counts in ticks, and must not overflow. */
const MAX_TIMEOUT_SECONDS = 86_400;

/** Block devices: one class for all of them, the kinds that need nothing but themselves, and the raw export. */
import { constants } from 'node:buffer';
import { addon, type DeviceHandle, type NativeCall, type ProgressListener } from './addon.js';
import { type CallOptions, callNative, runNative } from './call.js';
import { OwnedHandle } from './handle.js';

interface DeviceInfo {
  name: string;
  size: number;
  blockSize: number;
  writable: boolean;
}

const native = addon as {
  createMemoryDevice(size: number, blockSize: number): DeviceHandle;
  createZeroDevice(size: number, blockSize: number): DeviceHandle;
  openFileDevice(
    path: string,
    options: { writable: boolean; blockSize: number; createSize: number | undefined },
  ): NativeCall<DeviceHandle>;
  deviceInfo(handle: DeviceHandle): DeviceInfo;
  deviceRead(handle: DeviceHandle, offset: number, length: number): NativeCall<Buffer>;
  deviceWrite(handle: DeviceHandle, offset: number, data: Uint8Array, durable: boolean): NativeCall<void>;
  deviceZero(handle: DeviceHandle, offset: number, length: number, durable: boolean): NativeCall<void>;
  deviceTrim(handle: DeviceHandle, offset: number, length: number): NativeCall<void>;
  deviceFlush(handle: DeviceHandle): NativeCall<void>;
  deviceExtents(handle: DeviceHandle, offset: number, length: number, maxCount: number): NativeCall<Extent[]>;
  deviceClose(handle: DeviceHandle): NativeCall<void>;
  copyDeviceToFile(
    handle: DeviceHandle,
    path: string,
    onProgress: ProgressListener | undefined,
  ): NativeCall<RawExport>;
};

/** Of a device that is made without saying otherwise, in bytes. */
export const DEFAULT_BLOCK_BYTES = 4096;

/** A part of a device, in bytes. */
export interface Extent {
  offset: number;
  length: number;
  /** Stored bytes, zeros on record, or zeros because nothing was ever stored. */
  kind: 'data' | 'zero' | 'hole';
}

export interface SignalOptions {
  /** Aborts the call. What a change had done by then stays done. */
  signal?: AbortSignal | undefined;
}

export interface WriteOptions extends SignalOptions {
  /** Durable when the call resolves, without a `flush`; default false. */
  durable?: boolean | undefined;
}

/**
 * A fixed-size array of bytes: memory, a file, an overlay, a chain of diffs.
 *
 * Any number of calls may run at once. Every call works on a thread of its own, never on libuv's pool. A range beyond
 * the end rejects with INVALID_ARGUMENT, a change of a device that is not writable with IO, a full host with NO_SPACE;
 * `context` has the offset and errno.
 *
 * Whoever has a device closes it. What was stacked on it (an overlay, an export) keeps what it needs by itself.
 */
export class Device implements AsyncDisposable {
  /** For the other files of lib/native only. */
  readonly owned: OwnedHandle<DeviceHandle>;
  #info: DeviceInfo;

  /** For the other files of lib/native only: takes the handle over. */
  constructor(handle: DeviceHandle) {
    this.#info = callNative(() => native.deviceInfo(handle));
    this.owned = new OwnedHandle(handle, 'device', (open) => runNative(() => native.deviceClose(open)));
  }

  /** What the device is, as errors name it. */
  get name(): string {
    return this.#info.name;
  }

  /** In bytes. After `close`: as it was then. */
  get size(): number {
    return this.#current().size;
  }

  /** The unit of change tracking and of efficient I/O, in bytes. Other ranges work, too. */
  get blockSize(): number {
    return this.#info.blockSize;
  }

  /** False also for an overlay that is sealed. After `close`: as it was then. */
  get writable(): boolean {
    return this.#current().writable;
  }

  /** Resolves with exactly `length` bytes. */
  async read(offset: number, length: number, options: SignalOptions = {}): Promise<Buffer> {
    if (length > constants.MAX_LENGTH) {
      throw new RangeError(
        `Cannot read ${length} bytes at once: a Buffer holds at most ${constants.MAX_LENGTH}, read in parts`,
      );
    }
    return this.owned.run((handle) => native.deviceRead(handle, offset, length), options);
  }

  /** Writes all of `data`, which is copied before this returns. */
  async write(offset: number, data: Uint8Array, options: WriteOptions = {}): Promise<void> {
    const { durable = false } = options;
    await this.owned.run((handle) => native.deviceWrite(handle, offset, data, durable), options);
  }

  /** Makes the range read as zeros, and frees its space where the device can. */
  async zero(offset: number, length: number, options: WriteOptions = {}): Promise<void> {
    const { durable = false } = options;
    await this.owned.run((handle) => native.deviceZero(handle, offset, length, durable), options);
  }

  /** Gives up the content of the whole blocks in the range: they read as zeros. The rest of the range stays as it is. */
  async trim(offset: number, length: number, options: SignalOptions = {}): Promise<void> {
    await this.owned.run((handle) => native.deviceTrim(handle, offset, length), options);
  }

  /** Makes every write that has resolved durable. Rejects when one of them turned out to be lost. */
  async flush(options: SignalOptions = {}): Promise<void> {
    await this.owned.run((handle) => native.deviceFlush(handle), options);
  }

  /**
   * The extents that cover the range, in order, neighbours of one kind joined. With `maxCount` the first so many: the
   * rest of the range is left out.
   */
  async extents(
    offset: number,
    length: number,
    options: SignalOptions & { maxCount?: number | undefined } = {},
  ): Promise<Extent[]> {
    const { maxCount = Number.MAX_SAFE_INTEGER } = options;
    return this.owned.run((handle) => native.deviceExtents(handle, offset, length, maxCount), options);
  }

  /** Waits for running calls, and releases the device. Does not flush. Idempotent; later calls reject with CLOSED. */
  close(): Promise<void> {
    return this.owned.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #current(): DeviceInfo {
    if (!this.owned.closed) this.#info = callNative(() => native.deviceInfo(this.owned.value));
    return this.#info;
  }
}

export interface DeviceShape {
  /** In bytes. */
  size: number;
  /** In bytes: a power of two from 512 to 64 MiB; default 4096. */
  blockSize?: number | undefined;
}

/** A writable device in memory, which takes memory for the blocks that are written. */
export function createMemoryDevice({ size, blockSize = DEFAULT_BLOCK_BYTES }: DeviceShape): Device {
  return new Device(callNative(() => native.createMemoryDevice(size, blockSize)));
}

/** A read-only device of zeros. */
export function createZeroDevice({ size, blockSize = DEFAULT_BLOCK_BYTES }: DeviceShape): Device {
  return new Device(callNative(() => native.createZeroDevice(size, blockSize)));
}

export interface FileDeviceOptions extends SignalOptions {
  /** Default false. */
  writable?: boolean | undefined;
  /** Makes the file, sparse, with this size in bytes, and writable. It must not exist yet. */
  create?: number | undefined;
  /** In bytes; default 4096. */
  blockSize?: number | undefined;
}

/** Opens a raw disk image, a regular file. Rejects with NOT_FOUND, UNSUPPORTED for other kinds of file, or IO. */
export async function openFileDevice(path: string, options: FileDeviceOptions = {}): Promise<Device> {
  const { create, writable = create !== undefined, blockSize = DEFAULT_BLOCK_BYTES } = options;
  const handle = await runNative(
    () => native.openFileDevice(path, { writable, blockSize, createSize: create }),
    options,
  );
  return new Device(handle);
}

/** What a raw export wrote, in bytes. */
export interface RawExport {
  /** Of the image. */
  size: number;
  /** Of it, stored; the rest are holes. */
  dataBytes: number;
}

/**
 * Copies a device into a sparse raw image, reading only where it has data. The file appears whole and durable, readable
 * for its owner only, in place of one that was there. An aborted or failed call leaves the folder as it was.
 */
export async function copyDeviceToFile(
  device: Device,
  path: string,
  options: CallOptions = {},
): Promise<RawExport> {
  return device.owned.run((handle) => native.copyDeviceToFile(handle, path, options.onProgress), options);
}

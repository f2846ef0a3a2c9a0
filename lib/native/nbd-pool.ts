/** The kernel's NBD devices: who uses them, and what killed processes left of them. */
import { addon, type NativeCall, type NativeHandle } from './addon.js';
import { runNative } from './call.js';
import type { SignalOptions } from './device.js';
import { OwnedHandle } from './handle.js';
import { placeOfHelper } from './helper-program.js';

export type PoolHandle = NativeHandle<'pool'>;

const native = addon as {
  openNbdPool(folder: string | undefined, connectAhead: number, guardProgram: string): NativeCall<PoolHandle>;
  closeNbdPool(handle: PoolHandle): NativeCall<void>;
  nbdReport(handle: PoolHandle): NativeCall<NbdDevice[]>;
  nbdReclaim(handle: PoolHandle): NativeCall<number[]>;
};

/** One of the kernel's devices, and what it is used for. */
export interface NbdDevice {
  index: number;
  /** `/dev/nbd3`. */
  path: string;
  /**
   * `free`: nothing is connected. `ours`: a living process that shares the run folder has it. `left`: such a process was
   * killed and left it connected; it can be reclaimed. `foreign`: anything else.
   */
  use: 'free' | 'ours' | 'left' | 'foreign';
  /** In bytes; 0 when nothing is connected. */
  size: number;
  connected: boolean;
  /** With `ours` and `left`: the process that attached it. */
  ownerPid?: number;
  /** The name that the connecting program gave, where the kernel keeps it (Linux 5.14). */
  backend?: string;
}

export interface NbdPoolOptions extends SignalOptions {
  /**
   * Where locks and records are kept; processes share devices without a race only when they share this folder. Default:
   * `/run/rootloom/nbd` for root, else `rootloom/nbd` in `$XDG_RUNTIME_DIR`. It is made when it is missing.
   */
  folder?: string | undefined;
  /**
   * So many devices are kept connected before they are wanted, for callers of this very object: attaching a writable
   * device then takes no more than telling the kernel its size. Serves attachments with one connection and blocks of 4096
   * bytes; default 0.
   */
  connectAhead?: number | undefined;
}

/** Hands out the kernel's devices to `attach`, among any number of callers and processes, each to one at a time. */
export class NbdPool implements AsyncDisposable {
  /** For the other files of lib/native only. */
  readonly owned: OwnedHandle<PoolHandle>;

  /** For `openNbdPool` only. */
  constructor(handle: PoolHandle) {
    this.owned = new OwnedHandle(handle, 'pool', (open) => runNative(() => native.closeNbdPool(open)));
  }

  /** All devices that the kernel has, in order. Rejects with MODULE_MISSING when it has no driver for them. */
  devices(options: SignalOptions = {}): Promise<NbdDevice[]> {
    return this.owned.run((handle) => native.nbdReport(handle), options);
  }

  /**
   * Disconnects what killed processes left, and resolves with the indices. Touches only what is provably theirs: nobody
   * holds the lock, and the kernel names the very attachment that is on record since this boot.
   */
  reclaim(options: SignalOptions = {}): Promise<number[]> {
    return this.owned.run((handle) => native.nbdReclaim(handle), options);
  }

  /** Lets go of what was connected ahead. Attachments keep what they need. Idempotent. */
  close(): Promise<void> {
    return this.owned.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** Opens the pool. Does not need the driver yet; rejects with IO when the folder cannot be made. */
export async function openNbdPool(options: NbdPoolOptions = {}): Promise<NbdPool> {
  const { folder, connectAhead = 0 } = options;
  const guardProgram = placeOfHelper('rootloom-guard');
  return new NbdPool(await runNative(() => native.openNbdPool(folder, connectAhead, guardProgram), options));
}

/** The kernel's devices and their use, as `NbdPool.devices` tells. */
export async function nbdDevices(options: NbdPoolOptions = {}): Promise<NbdDevice[]> {
  await using pool = await openNbdPool(options);
  return await pool.devices(options);
}

/** Disconnects what killed processes left, as `NbdPool.reclaim` does. */
export async function reclaimNbdDevices(options: NbdPoolOptions = {}): Promise<number[]> {
  await using pool = await openNbdPool(options);
  return await pool.reclaim(options);
}

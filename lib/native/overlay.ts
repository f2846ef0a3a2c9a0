/** Overlays: a writable device over one that is only read. */
import { addon, type DeviceHandle, type NativeCall } from './addon.js';
import { callNative, runNative } from './call.js';
import { DEFAULT_BLOCK_BYTES, Device, type SignalOptions } from './device.js';

interface RawStats {
  dataBlocks: number;
  zeroBlocks: number;
  frozen: boolean;
}

const native = addon as {
  createOverlay(
    base: DeviceHandle,
    upperPath: string,
    size: number,
    blockSize: number,
  ): NativeCall<DeviceHandle>;
  overlayResize(handle: DeviceHandle, size: number): NativeCall<void>;
  overlayFreeze(handle: DeviceHandle): NativeCall<void>;
  overlayCut(handle: DeviceHandle, upperPath: string): NativeCall<DeviceHandle>;
  cutSettle(handle: DeviceHandle, sealed: DeviceHandle): NativeCall<void>;
  overlayStats(handle: DeviceHandle): RawStats;
};

/** What an overlay holds, in blocks of its block size. */
export interface OverlayStats {
  /** Stored in the upper. */
  dataBlocks: number;
  /** Known to be zeros, and stored nowhere. */
  zeroBlocks: number;
  /** True when it takes no more changes. */
  frozen: boolean;
}

/**
 * What an overlay held when it was cut: a read-only device, and what `sealOverlay` makes a build of while the overlay is
 * written on. Its owner closes it; the overlay keeps what it needs of it.
 */
export class OverlayCut extends Device {
  /**
   * Gives back what the cut takes: from now on the overlay reads `sealed` where it read the cut, which must hold the same
   * bytes, such as the chain of the build that the cut was sealed as. Rejects with INVALID_ARGUMENT when it has another
   * size, or when the cut is settled already. A settled cut cannot be sealed again. `sealed` may be closed afterwards.
   */
  async settle(sealed: Device, options: SignalOptions = {}): Promise<void> {
    await sealed.owned.use((device) => this.owned.run((handle) => native.cutSettle(handle, device), options));
  }
}

/** A device whose changes go to a private sparse file, the upper. */
export class OverlayDevice extends Device {
  stats(): OverlayStats {
    return callNative(() => native.overlayStats(this.owned.value));
  }

  /** The bytes of the blocks that are stored in the upper. */
  dirtyBytes(): number {
    return this.stats().dataBlocks * this.blockSize;
  }

  /**
   * Sets the size, in bytes. A new tail reads as zeros, whatever the base has there; what is cut off is gone. Waits for
   * running calls. Rejects with NO_SPACE or IO, and has then changed nothing below the smaller of the two sizes.
   */
  async resize(size: number, options: SignalOptions = {}): Promise<void> {
    await this.owned.run((handle) => native.overlayResize(handle, size), options);
  }

  /**
   * Cuts off what the overlay holds, to be sealed while whoever uses the overlay writes on, and notices nothing. That takes
   * a millisecond, however much was written. In the cut is every change that had resolved, or was answered by an export;
   * of those under way, all or nothing of each. It is made durable by sealing it.
   *
   * `upperPath` is where further changes go, as in `createOverlay`. Several cuts may be outstanding: they are sealed in
   * turn, each with the header that the one before was sealed as for its parent, and then settled.
   *
   * Rejects when anything that was written may be missing, as `freeze` does, or when the overlay is frozen; the overlay
   * then goes on as if this had not been called.
   */
  async cut(upperPath: string, options: SignalOptions = {}): Promise<OverlayCut> {
    return new OverlayCut(await this.owned.run((handle) => native.overlayCut(handle, upperPath), options));
  }

  /**
   * Ends all changes for good and flushes; sealing does it, too. Rejects when anything that was written may be missing,
   * because a write or a flush failed earlier, even if its caller knew: such a disk must not become a build.
   */
  async freeze(options: SignalOptions = {}): Promise<void> {
    await this.owned.run((handle) => native.overlayFreeze(handle), options);
  }
}

export interface OverlayOptions extends SignalOptions {
  /** Where the upper is made. It must not exist, and its name is gone at once: nothing is left behind, ever. */
  upperPath: string;
  /** In bytes; default: the base's. What is beyond the base reads as zeros. */
  size?: number | undefined;
  /** In bytes: a power of two from 512 to 64 MiB; default 4096. */
  blockSize?: number | undefined;
}

/** Makes an overlay. It keeps what it needs of the base, which may be closed, and must not change. */
export async function createOverlay(base: Device, options: OverlayOptions): Promise<OverlayDevice> {
  const { upperPath, size = base.size, blockSize = DEFAULT_BLOCK_BYTES } = options;
  return base.owned.use(async (handle) => {
    const overlay = await runNative(() => native.createOverlay(handle, upperPath, size, blockSize), options);
    return new OverlayDevice(overlay);
  });
}

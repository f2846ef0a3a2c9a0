/** Chains: reading a build's disk through its header and diffs, and sealing what was written into a new build. */
import { addon, type DeviceHandle, type NativeCall, type ProgressListener } from './addon.js';
import { type CallOptions, runNative } from './call.js';
import { Device, type SignalOptions } from './device.js';
import type { OverlayCut, OverlayDevice } from './overlay.js';

export * from './header.js';

const native = addon as {
  openChain(options: { header: Uint8Array; diffs: [string, string][] }): NativeCall<DeviceHandle>;
  sealOverlay(
    overlay: DeviceHandle,
    request: SealOverlayRequest,
    onProgress: ProgressListener | undefined,
  ): NativeCall<SealReport>;
  sealDevice(
    device: DeviceHandle,
    request: SealDeviceRequest,
    onProgress: ProgressListener | undefined,
  ): NativeCall<SealReport>;
};

export interface ChainRequest {
  /** The header file's bytes. */
  header: Uint8Array;
  /** Where the diff of each build is that the header refers to; others are ignored. */
  diffs: Readonly<Record<string, { path: string }>>;
}

/**
 * Opens the read-only device that a header describes. Each diff is opened on first use, so a diff that is missing shows
 * when it is read: NOT_FOUND, and CORRUPT for one that ends too soon or is damaged, with its path and the offset in it.
 *
 * Rejects with CORRUPT or UNSUPPORTED for a bad header, and with NOT_FOUND when `diffs` lacks a build.
 */
export async function openChain(
  { header, diffs }: ChainRequest,
  options: SignalOptions = {},
): Promise<Device> {
  const paths = Object.entries(diffs).map(([buildId, { path }]): [string, string] => [buildId, path]);
  return new Device(await runNative(() => native.openChain({ header, diffs: paths }), options));
}

export interface SealRequest {
  /** The new build's UUID. */
  buildId: string;
  /** Where the diff is written. Nothing may be there yet. */
  diffPath: string;
  /** Where the header is written. Nothing may be there yet. */
  headerPath: string;
  /** Of the header: 3, 4 or 5. Default: that of a parent with 4 or 5, else 3. */
  version?: number | undefined;
}

export interface SealOverlayRequest extends SealRequest {
  /**
   * The header file's bytes of the chain that the overlay is based on; for what was written after a cut, those that the
   * cut was sealed as. Without it the new build stands alone.
   */
  parentHeader?: Uint8Array | undefined;
  /** Reports the diff's digest in any case. */
  digest?: boolean | undefined;
}

export interface SealDeviceRequest extends SealRequest {
  /** Recorded in the header, and the unit in which zeros are left out, in bytes: 4096 for disks. */
  blockSize: number;
}

/** What a seal wrote. */
export interface SealReport {
  /** Of the device, in bytes. */
  size: number;
  /** Of the stored diff, in bytes. */
  diffBytes: number;
  /** Blocks that are stored. */
  dataBlocks: number;
  /** Blocks that are zeros, and stored nowhere. */
  zeroBlocks: number;
  /** Blocks that were written, but equal what the parent holds. */
  droppedBlocks: number;
  /** Of the stored diff, in hexadecimal; there when it was asked for, or the build stands alone. */
  diffSha256?: string;
}

/**
 * Seals an overlay, or a cut of one, into the diff and the header of a new build, which covers its size. With a parent only
 * blocks that were written are looked at; without one everything that the overlay shows is stored, but for zeros.
 *
 * An overlay is frozen first, for good: a write that runs meanwhile is either in the build or rejects. The overlay of a
 * cut is not touched. When the seal fails or is aborted, no file is left, and it can be done again, unless written data
 * was lost. When it resolves, both files are durable; their names are durable when their folder is synced.
 */
export async function sealOverlay(
  overlay: OverlayDevice | OverlayCut,
  request: SealOverlayRequest,
  options: CallOptions = {},
): Promise<SealReport> {
  return overlay.owned.run((handle) => native.sealOverlay(handle, request, options.onProgress), options);
}

/** The same for everything that a device holds: a build that stands alone. Nothing may write to it meanwhile. */
export async function sealDevice(
  device: Device,
  request: SealDeviceRequest,
  options: CallOptions = {},
): Promise<SealReport> {
  return device.owned.run((handle) => native.sealDevice(handle, request, options.onProgress), options);
}

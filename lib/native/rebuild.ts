/**
 * A disk rebuilt: a new ext4 with the files of another one, of any size, in the library's own profile.
 *
 * Only the filesystem's own structures are written. The content of files stays where the source has it, and the new disk shows
 * it at its new place; sealed on the header that comes with it, a build shares that content with its source's chain.
 * Nothing here starts a process or needs a mount or root.
 */
import { addon, type DeviceHandle, type NativeCall, type ProgressListener } from './addon.js';
import type { Device } from './device.js';
import type { IoReport } from './ext4-types.js';
import { type EngineOptions, type EngineRequest, engineRequest } from './isolation.js';
import { OverlayDevice } from './overlay.js';

export interface RebuildRequest {
  /** Of the new disk, in bytes: a multiple of 4096. */
  size: number;
  /** Where the new disk's upper is made. It must not exist, and its name is gone at once. */
  upperPath: string;
  /**
   * The header file's bytes of the chain that the source is, or lies over. With it the content that no header can show in its
   * new place (of blocks smaller than 4096 bytes, or changed since the chain) is written to the new disk.
   */
  parentHeader?: Uint8Array | undefined;
  /** In whole seconds since 1970, where the filesystem itself has a time; default: the source's last. */
  time?: number | undefined;
}

/** What a rebuild did, in bytes unless it says otherwise. */
export interface RebuildCounts {
  /** Of all types, directories included. */
  fileCount: number;
  /** Content of files, as far as it is stored. */
  contentBytes: number;
  /** Of it, what the header shows where the source's diffs have it. */
  sharedBytes: number;
  /** Inodes, directories, extents and attributes that were written. */
  metadataBytes: number;
  /** Reads of the source, and writes of the new filesystem without the content of files. */
  io: IoReport;
}

export interface RebuiltDisk extends RebuildCounts {
  /** Whole and readable at once. The caller closes it; it keeps what it needs of the source. */
  overlay: OverlayDevice;
  /** What to seal the overlay on; there when the request had one. Without it, a seal stores everything. */
  parentHeader?: Uint8Array;
}

const native = addon as {
  rebuildDisk(
    source: DeviceHandle,
    request: RebuildRequest & EngineRequest,
    onProgress: ProgressListener | undefined,
  ): NativeCall<Omit<RebuiltDisk, 'overlay'> & { overlay: DeviceHandle }>;
  rebuiltSize(source: DeviceHandle, request: { free: number } & EngineRequest): NativeCall<number>;
};

/**
 * Rebuilds the filesystem of `source` on a new disk. An overlay that is the source is frozen: it takes no more changes. Equal inputs give
 * equal bytes. Progress is in files, then in bytes of content. An abort is answered within some 50 ms, also when the source is stuck: what
 * is left of the call then belongs to it, and its `close` waits for that.
 *
 * Rejects with UNSUPPORTED when the journal must be replayed first and, with its `path`, for a file that is encrypted or under
 * fs-verity; CORRUPT for a filesystem that is not clean; TOO_SMALL with the `minimum` that works; NO_SPACE; IO; the signal's
 * reason; ENGINE_CRASHED when the engine did not live through it, in its own process unless `isolation: 'none'` says otherwise. Nothing
 * is left then.
 */
export async function rebuildDisk(
  source: Device,
  request: RebuildRequest,
  options: EngineOptions = {},
): Promise<RebuiltDisk> {
  const full = { ...request, ...engineRequest(options) };
  const { overlay, ...rest } = await source.owned.runLong(
    (handle) => native.rebuildDisk(handle, full, options.onProgress),
    options,
    (late) => new OverlayDevice(late.overlay).close(),
  );
  return { ...rest, overlay: new OverlayDevice(overlay) };
}

/** The size in bytes of a disk on which the rebuilt filesystem has so many bytes free. Rejects as `rebuildDisk` does. */
export async function rebuiltSize(
  source: Device,
  request: { free: number },
  options: EngineOptions = {},
): Promise<number> {
  const full = { ...request, ...engineRequest(options) };
  return source.owned.runLong((handle) => native.rebuiltSize(handle, full), options);
}

/**
 * Gives a disk its size by making its filesystem anew, on a disk of its own: small where the old one was large, whole where it was
 * scattered, and in the library's profile wherever it came from.
 *
 * `rebuild` leaves the content of files where the source's chain has it; `copy` seals it with the rest, in the order of the new
 * disk, into a build that needs no other.
 */

import { ext4, type ScratchOptions } from '../native/ext4.js';
import type { OverlayDevice } from '../native/overlay.js';
import { type RebuildCounts, rebuildDisk as rebuildOnNewDisk, rebuiltSize } from '../native/rebuild.js';
import { type DiskRequest, LARGEST_DISK_BYTES, validateDiskRequest } from './disk-request.js';
import { availableBytes, kernelReserve, type ResizeReport, resizeDisk } from './resize.js';

/** Disks are fitted to their free space in pieces of this many bytes. */
const FREE_STEP_BYTES = 1024 * 1024;

/** Of the profile, for an estimate that is corrected afterwards. */
const FILESYSTEM_BLOCK_BYTES = 4096;

export interface RebuildDiskOptions extends ScratchOptions {
  /** Where the new disk's upper is made; its name is gone at once. */
  upperPath: string;
  /** The header of the source's chain, to share the content of files with it. Without it the new disk is to be sealed alone. */
  parentHeader?: Uint8Array | undefined;
}

export interface RebuiltDiskReport extends ResizeReport, RebuildCounts {}

export interface RebuiltDisk {
  /** The caller closes it. */
  overlay: OverlayDevice;
  /** What to seal it on; absent when it stands alone. */
  parentHeader: Uint8Array | undefined;
  report: RebuiltDiskReport;
}

async function sizeFor(
  source: OverlayDevice,
  request: DiskRequest,
  options: ScratchOptions,
): Promise<number> {
  if ('size' in request) return request.size;
  const least = await rebuiltSize(source, request, options);
  const size = least + kernelReserve(least, FILESYSTEM_BLOCK_BYTES);
  return Math.min(Math.ceil(size / FREE_STEP_BYTES) * FREE_STEP_BYTES, LARGEST_DISK_BYTES);
}

/**
 * Makes a new disk with the files of `source`, which takes no more changes afterwards; its filesystem must be clean and its
 * journal replayed. `{ size }` is met exactly, `{ free }` to the metadata that a correction costs.
 *
 * Rejects with TOO_SMALL (`minimum` says what would do), UNSUPPORTED with the `path` of a file that is encrypted or under fs-verity,
 * NO_SPACE, IO, CORRUPT, or the signal's reason; nothing is left then.
 */
export async function rebuildDisk(
  source: OverlayDevice,
  request: DiskRequest,
  { upperPath, parentHeader, ...options }: RebuildDiskOptions,
): Promise<RebuiltDisk> {
  validateDiskRequest(request);
  const oldSize = source.size;
  const size = await sizeFor(source, request, options);
  const rebuilt = await rebuildOnNewDisk(source, { size, upperPath, parentHeader }, options);
  const { overlay, parentHeader: newHeader, blocksRead, ...counts } = rebuilt;
  try {
    if ('free' in request) await resizeDisk(overlay, request, options);
    const free = availableBytes(await ext4.stats(overlay, options));
    const { dataBlocks } = overlay.stats();
    const report = { ...counts, oldSize, newSize: overlay.size, free, blocksRead, blocksWritten: dataBlocks };
    return { overlay, parentHeader: newHeader, report };
  } catch (error) {
    await overlay.close();
    throw error;
  }
}

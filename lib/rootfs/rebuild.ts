/**
 * Gives a disk its size by making its filesystem anew, on a disk of its own: small where the old one was large, whole where it was
 * scattered, and in the library's profile wherever it came from.
 *
 * `rebuild` leaves the content of files where the source's chain has it; `copy` seals it with the rest, in the order of the new
 * disk, into a build that needs no other.
 */

import { ext4 } from '../native/ext4.js';
import type { EngineOptions } from '../native/isolation.js';
import type { OverlayDevice } from '../native/overlay.js';
import { type RebuildCounts, rebuildDisk as rebuildOnNewDisk, rebuiltSize } from '../native/rebuild.js';
import { LARGEST_DISK_BYTES, type ResizeTarget, validateResizeTarget } from './disk-request.js';
import { type ResizeReport, resizeDisk } from './resize.js';

/** Disks are fitted to their free space in pieces of this many bytes. */
const FREE_STEP_BYTES = 1024 * 1024;

/** The most that the kernel keeps from users, in blocks of the profile; for an estimate that is corrected afterwards. */
const KERNEL_RESERVE_BYTES = 4096 * 4096;
const KERNEL_RESERVE_SHARE = 50;

export interface RebuildDiskOptions extends EngineOptions {
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
  request: Exclude<ResizeTarget, 'minimum'>,
  options: EngineOptions,
): Promise<number> {
  if ('size' in request) return request.size;
  const least = await rebuiltSize(source, request, options);
  const size = least + Math.min(least / KERNEL_RESERVE_SHARE, KERNEL_RESERVE_BYTES);
  return Math.min(Math.ceil(size / FREE_STEP_BYTES) * FREE_STEP_BYTES, LARGEST_DISK_BYTES);
}

/**
 * Makes a new disk with the files of `source`, which takes no more changes afterwards; its filesystem must be clean and its
 * journal replayed. `{ size }` is met exactly, `{ free }` to the metadata that a correction costs; `'minimum'`
 * is `{ free: 0 }` here.
 *
 * Rejects with TOO_SMALL (`minimum` says what would do), UNSUPPORTED with the `path` of a file that is encrypted or under fs-verity,
 * NO_SPACE, IO, CORRUPT, or the signal's reason; nothing is left then.
 */
export async function rebuildDisk(
  source: OverlayDevice,
  target: ResizeTarget,
  { upperPath, parentHeader, ...options }: RebuildDiskOptions,
): Promise<RebuiltDisk> {
  validateResizeTarget(target);
  const request = target === 'minimum' ? { free: 0 } : target;
  const oldSize = source.size;
  const size = await sizeFor(source, request, options);
  const rebuilt = await rebuildOnNewDisk(source, { size, upperPath, parentHeader }, options);
  const { overlay, parentHeader: newHeader, ...counts } = rebuilt;
  try {
    if ('free' in request) await resizeDisk(overlay, request, options);
    const { availableBytes: free, sizeBytes: filesystemSize, clean } = await ext4.stats(overlay, options);
    const report = {
      ...counts,
      oldSize,
      newSize: overlay.size,
      filesystemSize,
      clean,
      free,
      resultChecked: false,
      resultCorrected: false,
    };
    return { overlay, parentHeader: newHeader, report };
  } catch (error) {
    await overlay.close();
    throw error;
  }
}

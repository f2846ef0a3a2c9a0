/**
 * Gives the ext4 filesystem on an overlay another size, in place.
 *
 * Growing makes the device larger first and the filesystem after it; shrinking goes the other way round, so that the
 * filesystem never reaches beyond its device. Everything happens on the overlay: whoever gives it up keeps the old disk.
 */
import { RootloomError } from '../errors.js';
import type { CallOptions } from '../native/call.js';
import { ext4 } from '../native/ext4.js';
import type { OverlayDevice } from '../native/overlay.js';
import {
  DISK_BLOCK_BYTES,
  type DiskRequest,
  LARGEST_DISK_BYTES,
  validateDiskRequest,
} from './disk-request.js';

/** What a resize did. Sizes are bytes. */
export interface ResizeReport {
  oldSize: number;
  newSize: number;
  /** Free for the user afterwards. */
  free: number;
  /** Metadata blocks of 4096 bytes that the engine read and wrote, each counted once. */
  blocksRead: number;
  blocksWritten: number;
}

/** How many times `{ free }` corrects its estimate: each pass is off by the metadata of the last correction only. */
const MAX_PASSES = 16;

/** New space is asked for in pieces of this many bytes: a whole number of blocks and bitmap bytes on every profile. */
const FREE_STEP_BYTES = 1024 * 1024;

function roundUp(bytes: number, unit: number): number {
  return Math.ceil(bytes / unit) * unit;
}

async function setSize(disk: OverlayDevice, size: number, options: CallOptions): Promise<ResizeReport> {
  const oldSize = disk.size;
  if (size > oldSize) await disk.resize(size);
  const { blocksRead, blocksWritten } = await ext4.resize(disk, { size }, options);
  if (size < oldSize) await disk.resize(size);
  const { freeBytes: free } = await ext4.stats(disk, options);
  return { oldSize, newSize: size, free, blocksRead, blocksWritten };
}

/** The estimated size at which `free` bytes are free, from what is free now at the disk's present size. */
function estimateSize(size: number, freeNow: number, free: number): number {
  return Math.min(roundUp(size + (free - freeNow), FREE_STEP_BYTES), LARGEST_DISK_BYTES);
}

async function growUntilFree(disk: OverlayDevice, free: number, options: CallOptions): Promise<ResizeReport> {
  const oldSize = disk.size;
  const total = { blocksRead: 0, blocksWritten: 0 };
  let { freeBytes: freeNow } = await ext4.stats(disk, options);
  for (let pass = 0; freeNow < free && pass < MAX_PASSES; pass += 1) {
    const size = estimateSize(disk.size, freeNow, free);
    // The filesystem may leave a last group that is too small for its own metadata unused: the next step covers it.
    const report = await setSize(disk, size > disk.size ? size : disk.size + FREE_STEP_BYTES, options);
    freeNow = report.free;
    total.blocksRead += report.blocksRead;
    total.blocksWritten += report.blocksWritten;
  }
  if (freeNow < free) {
    throw new RootloomError(
      'NO_SPACE',
      `Cannot make ${free} bytes free on ${disk.name}: ${freeNow} are free at ${disk.size} bytes`,
    );
  }
  return { oldSize, newSize: disk.size, free: freeNow, ...total };
}

/**
 * Makes the disk as large as the request says.
 *
 * `{ size }` is met exactly. `{ free }` grows the disk until at least that much is free, and leaves a disk that has it
 * already as it is. The filesystem must be clean and its journal replayed.
 *
 * Rejects with TOO_SMALL (`minimum` says what would do), NO_SPACE, IO, CORRUPT, or the signal's reason. The overlay's
 * content is undefined then, and is to be thrown away.
 */
export async function resizeDisk(
  disk: OverlayDevice,
  request: DiskRequest,
  options: CallOptions = {},
): Promise<ResizeReport> {
  validateDiskRequest(request);
  return 'size' in request
    ? setSize(disk, request.size, options)
    : growUntilFree(disk, request.free, options);
}

/**
 * The smallest size, in bytes, found for a disk on which at least `free` bytes stay free; at least the minimum that the
 * content needs. Used to give back the room that provisioning was lent.
 */
export async function shrinkUntilFree(
  disk: OverlayDevice,
  free: number,
  options: CallOptions = {},
): Promise<ResizeReport> {
  const oldSize = disk.size;
  const { freeBytes: freeNow } = await ext4.stats(disk, options);
  const minimum = await ext4.minimumSize(disk, options);
  const wanted = Math.max(roundUp(oldSize - (freeNow - free), DISK_BLOCK_BYTES), minimum);
  if (wanted >= oldSize) return growUntilFree(disk, free, options);
  const shrunk = await setSize(disk, wanted, options);
  const grown = await growUntilFree(disk, free, options);
  return {
    ...grown,
    oldSize,
    blocksRead: shrunk.blocksRead + grown.blocksRead,
    blocksWritten: shrunk.blocksWritten + grown.blocksWritten,
  };
}

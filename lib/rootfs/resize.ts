/**
 * Gives the ext4 filesystem on an overlay another size, in place.
 *
 * Growing makes the device larger first and the filesystem after it; shrinking goes the other way round, so that the
 * filesystem never reaches beyond its device. Everything happens on the overlay: whoever gives it up keeps the old disk.
 *
 * A size that leaves so much free space cannot be computed, for every added group brings metadata of its own, and a last one that
 * would hold little else stays unused. So it is estimated and measured, and the rest is estimated again.
 */
import { isRootloomError, RootloomError } from '../errors.js';
import { type Ext4Stats, ext4, type ScratchOptions } from '../native/ext4.js';
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
  /** Free for the user afterwards: what `df` in the guest calls available. */
  free: number;
  /** Blocks of the filesystem that the engine read and wrote, each counted once a pass: metadata, and content that had to move. */
  blocksRead: number;
  blocksWritten: number;
}

/** The kernel keeps this share of a filesystem, at most so many blocks, for metadata of data that is still on its way. */
const KERNEL_RESERVE_SHARE = 50;
const KERNEL_RESERVE_BLOCKS = 4096;

/** What of a filesystem's free space the kernel keeps from users without privileges, in bytes. */
export function kernelReserve(sizeBytes: number, blockSize: number): number {
  const blocks = Math.floor(sizeBytes / blockSize / KERNEL_RESERVE_SHARE);
  return Math.min(blocks, KERNEL_RESERVE_BLOCKS) * blockSize;
}

/** What a user without privileges can write to a mounted filesystem, in bytes: `df` in the guest calls it available. */
export function availableBytes({ freeBytes, sizeBytes, blockSize }: Ext4Stats): number {
  return Math.max(freeBytes - kernelReserve(sizeBytes, blockSize), 0);
}

/** How many times `{ free }` corrects its estimate: each pass is off by the metadata of the last correction only. */
const MAX_PASSES = 16;

/** Disks are fitted to their free space in pieces of this many bytes. */
const FREE_STEP_BYTES = 1024 * 1024;

/** Of our profile; for others it makes an estimate worse, and nothing else. */
const INODE_BYTES = 256;

function roundUp(bytes: number): number {
  return Math.min(Math.ceil(bytes / FREE_STEP_BYTES) * FREE_STEP_BYTES, LARGEST_DISK_BYTES);
}

/** A disk while it is resized: adds up what the passes did. */
class Resizing {
  #blocksRead = 0;
  #blocksWritten = 0;
  readonly #oldSize: number;

  constructor(
    readonly disk: OverlayDevice,
    private readonly options: ScratchOptions,
  ) {
    this.#oldSize = disk.size;
  }

  stats(): Promise<Ext4Stats> {
    return ext4.stats(this.disk, this.options);
  }

  async available(): Promise<number> {
    return availableBytes(await this.stats());
  }

  async setSize(size: number): Promise<void> {
    const isGrowing = size > this.disk.size;
    if (isGrowing) await this.disk.resize(size, this.options);
    const { blocksRead, blocksWritten } = await ext4.resize(this.disk, { size }, this.options);
    if (!isGrowing) await this.disk.resize(size, this.options);
    this.#blocksRead += blocksRead;
    this.#blocksWritten += blocksWritten;
  }

  async report(): Promise<ResizeReport> {
    const [blocksRead, blocksWritten] = [this.#blocksRead, this.#blocksWritten];
    const free = await this.available();
    return { oldSize: this.#oldSize, newSize: this.disk.size, free, blocksRead, blocksWritten };
  }
}

async function growUntilFree(resizing: Resizing, free: number): Promise<void> {
  const { disk } = resizing;
  let available = await resizing.available();
  for (let pass = 0; available < free && pass < MAX_PASSES && disk.size < LARGEST_DISK_BYTES; pass += 1) {
    await resizing.setSize(roundUp(disk.size + (free - available)));
    available = await resizing.available();
  }
  if (available >= free) return;
  throw new RootloomError(
    'NO_SPACE',
    `Cannot make ${free} bytes free on ${disk.name}: ${available} are free at ${disk.size} bytes`,
  );
}

/** About the size at which `free` bytes are available on a disk that is larger now. */
function estimateSize(size: number, stats: Ext4Stats, free: number): number {
  const { freeBytes, sizeBytes, blockSize, inodeCount } = stats;
  const metadataShare = (inodeCount * INODE_BYTES) / sizeBytes;
  const sizeFor = (wantedFree: number) => size - (freeBytes - wantedFree) / (1 - metadataShare);
  return sizeFor(free + kernelReserve(Math.max(sizeFor(free), 0), blockSize));
}

/** Shrinks to about what leaves `free` bytes free, to what the content needs, or not at all. */
async function shrinkTowardsFree(resizing: Resizing, free: number, smallest: number): Promise<void> {
  const { disk } = resizing;
  const stats = await resizing.stats();
  if (availableBytes(stats) <= free) return;
  const wanted = Math.max(roundUp(estimateSize(disk.size, stats, free)), smallest);
  if (wanted >= disk.size) return;
  try {
    await resizing.setSize(wanted);
  } catch (error) {
    const minimum = isRootloomError(error, 'TOO_SMALL') ? error.context.minimum : undefined;
    if (minimum === undefined) throw error;
    const possible = Math.ceil(minimum / DISK_BLOCK_BYTES) * DISK_BLOCK_BYTES;
    if (possible < disk.size) await resizing.setSize(possible);
  }
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
  options: ScratchOptions = {},
): Promise<ResizeReport> {
  validateDiskRequest(request);
  const resizing = new Resizing(disk, options);
  if ('size' in request) await resizing.setSize(request.size);
  else await growUntilFree(resizing, request.free);
  return resizing.report();
}

export interface FitRequest {
  /** At least so many bytes are free for the user afterwards. */
  free: number;
  /** The disk is not made smaller than this, in bytes. */
  smallestDisk: number;
}

/**
 * Gives back the room that a disk was lent: makes it about as small as `free` allows. Some megabytes more may stay, or much more where
 * the content does not go into less. Rejects as `resizeDisk` does.
 */
export async function fitDisk(
  disk: OverlayDevice,
  { free, smallestDisk }: FitRequest,
  options: ScratchOptions = {},
): Promise<ResizeReport> {
  const resizing = new Resizing(disk, options);
  await shrinkTowardsFree(resizing, free, smallestDisk);
  await growUntilFree(resizing, free);
  return resizing.report();
}

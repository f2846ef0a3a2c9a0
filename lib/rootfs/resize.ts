/**
 * Gives the ext4 filesystem on an overlay another size, in place.
 *
 * Growing makes the device larger first and the filesystem after it; shrinking goes the other way round, so that the
 * filesystem never reaches beyond its device. Everything happens on the overlay: whoever gives it up keeps the old disk.
 *
 * The size that leaves so much free space is computed, and what is free there is looked at afterwards: where metadata had to move it
 * can be a few blocks less, and it is computed again from there.
 */
import { isRootloomError, RootloomError } from '../errors.js';
import { ext4 } from '../native/ext4.js';
import type { Ext4Stats, IoReport } from '../native/ext4-types.js';
import type { EngineOptions } from '../native/isolation.js';
import type { OverlayDevice } from '../native/overlay.js';
import {
  DISK_BLOCK_BYTES,
  LARGEST_DISK_BYTES,
  type ResizeTarget,
  SMALLEST_DISK_BYTES,
  validateResizeTarget,
} from './disk-request.js';

/** What a resize did. Sizes are bytes. */
export interface ResizeReport {
  oldSize: number;
  newSize: number;
  /** Of the filesystem on the disk: the disk's, or less by the part of a block group that would not hold its own metadata. */
  filesystemSize: number;
  /** Free for the user afterwards: what `df` in the guest calls available. */
  free: number;
  /** True when the filesystem is clean in every respect that it can tell of itself: see `Ext4Stats`. */
  clean: boolean;
  /** True when e2fsck looked at the result: after a shrink, and where metadata had to move. */
  resultChecked: boolean;
  /** True when it put right bitmaps, counts or quota there: see `ResizeReport` of `ext4.resize`. */
  resultCorrected: boolean;
  /** What the engine read and wrote: metadata, and content that had to move. The sum of its passes, which are rarely more than one. */
  io: IoReport;
}

/** How many times `{ free }` may correct what it computed. */
const MAX_CORRECTIONS = 16;

const NO_IO: IoReport = {
  reads: 0,
  readBytes: 0,
  blocksRead: 0,
  chunksRead: 0,
  writes: 0,
  writtenBytes: 0,
  blocksWritten: 0,
  chunksWritten: 0,
  zeroedBytes: 0,
  prefetches: 0,
};

function addIo(a: IoReport, b: IoReport): IoReport {
  const sum = { ...a };
  for (const key of Object.keys(b) as (keyof IoReport)[]) sum[key] += b[key];
  return sum;
}

function roundUp(bytes: number): number {
  return Math.min(Math.ceil(bytes / DISK_BLOCK_BYTES) * DISK_BLOCK_BYTES, LARGEST_DISK_BYTES);
}

/** A disk while it is resized: adds up what the passes did. */
class Resizing {
  #io = NO_IO;
  #resultChecked = false;
  #resultCorrected = false;
  /** Of the filesystem as it is; undefined before the first look at it. */
  #stats: Ext4Stats | undefined;
  readonly #oldSize: number;

  constructor(
    readonly disk: OverlayDevice,
    private readonly options: EngineOptions,
  ) {
    this.#oldSize = disk.size;
  }

  async available(): Promise<number> {
    return (await this.#currentStats()).availableBytes;
  }

  async setSize(size: number): Promise<void> {
    const isGrowing = size > this.disk.size;
    if (isGrowing) await this.disk.resize(size, this.options);
    await this.#resizeFilesystem(size);
    if (!isGrowing) await this.disk.resize(size, this.options);
  }

  async minimise(): Promise<void> {
    const filesystemSize = await this.#resizeFilesystem('minimum');
    await this.disk.resize(Math.max(roundUp(filesystemSize), SMALLEST_DISK_BYTES), this.options);
  }

  sizeForFree(free: number, smallest: number): Promise<number> {
    return ext4.sizeForFree(this.disk, { free, smallest, largest: LARGEST_DISK_BYTES }, this.options);
  }

  async report(): Promise<ResizeReport> {
    const { sizeBytes: filesystemSize, availableBytes: free, clean } = await this.#currentStats();
    const sizes = { oldSize: this.#oldSize, newSize: this.disk.size, filesystemSize, free };
    const [resultChecked, resultCorrected] = [this.#resultChecked, this.#resultCorrected];
    return { ...sizes, clean, resultChecked, resultCorrected, io: this.#io };
  }

  async #currentStats(): Promise<Ext4Stats> {
    this.#stats ??= await ext4.stats(this.disk, this.options);
    return this.#stats;
  }

  async #resizeFilesystem(size: number | 'minimum'): Promise<number> {
    const { newSize, checked, corrected, io, after } = await ext4.resize(this.disk, { size }, this.options);
    this.#stats = after;
    this.#io = addIo(this.#io, io);
    this.#resultChecked ||= checked;
    this.#resultCorrected ||= corrected;
    return newSize;
  }
}

async function growUntilFree(resizing: Resizing, free: number): Promise<void> {
  const { disk } = resizing;
  let available = await resizing.available();
  for (let round = 0; available < free; round += 1) {
    if (round > MAX_CORRECTIONS) {
      throw new RootloomError(
        'NO_SPACE',
        `Cannot make ${free} bytes free on ${disk.name}: ${available} are free at ${disk.size} bytes`,
      );
    }
    await resizing.setSize(await resizing.sizeForFree(free, disk.size));
    available = await resizing.available();
  }
}

/** Shrinks to what leaves `free` bytes free, to what the content needs, or not at all. */
async function shrinkTowardsFree(resizing: Resizing, free: number, smallest: number): Promise<void> {
  const { disk } = resizing;
  if ((await resizing.available()) <= free) return;
  const wanted = await resizing.sizeForFree(free, smallest);
  if (wanted >= disk.size) return;
  try {
    await resizing.setSize(wanted);
  } catch (error) {
    const minimum = isRootloomError(error, 'TOO_SMALL') ? error.context.minimum : undefined;
    if (minimum === undefined) throw error;
    const possible = Math.max(roundUp(minimum), smallest);
    if (possible < disk.size) await resizing.setSize(possible);
  }
}

/**
 * Makes the disk as large as the target says.
 *
 * `{ size }` is met exactly. `{ free }` grows the disk to the smallest size at which that much is free, and leaves a disk that has
 * it already as it is. `'minimum'` makes it as small as its content was seen to fit. The filesystem must be clean and its journal
 * replayed.
 *
 * Rejects with TOO_SMALL (`minimum` says what would do), NO_SPACE, UNSUPPORTED, IO, CORRUPT, or the signal's reason. The overlay's
 * content is undefined then, and is to be thrown away.
 */
export async function resizeDisk(
  disk: OverlayDevice,
  target: ResizeTarget,
  options: EngineOptions = {},
): Promise<ResizeReport> {
  validateResizeTarget(target);
  const resizing = new Resizing(disk, options);
  if (target === 'minimum') await resizing.minimise();
  else if ('size' in target) await resizing.setSize(target.size);
  else await growUntilFree(resizing, target.free);
  return resizing.report();
}

export interface FitRequest {
  /** At least so many bytes are free for the user afterwards. */
  free: number;
  /** The disk is not made smaller than this, in bytes. */
  smallestDisk: number;
}

/**
 * Gives back the room that a disk was lent: makes it as small as `free` allows. Much more may stay where the
 * content does not go into less. Rejects as `resizeDisk` does.
 */
export async function fitDisk(
  disk: OverlayDevice,
  { free, smallestDisk }: FitRequest,
  options: EngineOptions = {},
): Promise<ResizeReport> {
  const resizing = new Resizing(disk, options);
  await shrinkTowardsFree(resizing, free, smallestDisk);
  await growUntilFree(resizing, free);
  return resizing.report();
}

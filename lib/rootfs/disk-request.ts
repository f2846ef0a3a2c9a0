/** How large a disk is to be: an exact size, or room for the user. */
import { RootloomError } from '../errors.js';

/**
 * `size` is the device's size in bytes, exactly: a multiple of 4096, 16 MiB to 16 TiB. `free` guarantees at least that many bytes free
 * for the user after the build, as `df` in the guest tells it; any whole number.
 */
export type DiskRequest = { size: number } | { free: number };

/** The same for a disk that exists: it can also be made as small as its content allows. */
export type ResizeTarget = DiskRequest | 'minimum';

/** The unit of disk sizes, in bytes. */
export const DISK_BLOCK_BYTES = 4096;

/** The smallest disk that can hold our ext4 profile with its journal, in bytes. */
export const SMALLEST_DISK_BYTES = 16 * 1024 * 1024;

/** The largest disk that the stored formats can describe, in bytes. */
export const LARGEST_DISK_BYTES = 16 * 1024 ** 4;

/**
 * Throws TypeError or RangeError for a request that is none, UNSUPPORTED above what the stored formats can describe, TOO_SMALL (with
 * `minimum`) below what any filesystem needs.
 */
export function validateDiskRequest(request: DiskRequest): void {
  const keys = Object.keys(request);
  const [key] = keys;
  if (keys.length !== 1 || (key !== 'size' && key !== 'free')) {
    throw new TypeError('Cannot use the disk request: it must be { size: bytes } or { free: bytes }');
  }
  const bytes = 'size' in request ? request.size : request.free;
  if (!Number.isSafeInteger(bytes) || bytes < 0) {
    throw new RangeError(
      `Cannot use the disk request: ${key} is ${bytes}, it must be a whole number of bytes`,
    );
  }
  if (bytes > LARGEST_DISK_BYTES) {
    throw new RootloomError(
      'UNSUPPORTED',
      `Cannot make a disk of ${bytes} bytes: the stored format ends at ${LARGEST_DISK_BYTES}`,
    );
  }
  if ('size' in request) {
    if (bytes % DISK_BLOCK_BYTES !== 0) {
      throw new RangeError(
        `Cannot use the disk size ${bytes}: it must be a multiple of ${DISK_BLOCK_BYTES} bytes`,
      );
    }
    if (bytes < SMALLEST_DISK_BYTES) {
      throw new RootloomError(
        'TOO_SMALL',
        `Cannot make a disk of ${bytes} bytes: the smallest is ${SMALLEST_DISK_BYTES}`,
        { minimum: SMALLEST_DISK_BYTES },
      );
    }
  }
}

/** The same for what a disk that exists can become. */
export function validateResizeTarget(target: ResizeTarget): void {
  if (target === 'minimum') return;
  if (typeof target === 'string') {
    throw new TypeError(
      `Cannot resize to ${target}: it must be 'minimum', { size: bytes } or { free: bytes }`,
    );
  }
  validateDiskRequest(target);
}

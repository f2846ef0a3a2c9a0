/**
 * What makes a disk "sealed clean by rootloom": its provenance, written into metadata.json when it is sealed, and
 * compared when it is opened, in a handful of block reads. A disk with a provenance that holds needs no check of its
 * content before it is resized: every block is named by the header whose digest it carries, and every diff was durable before
 * that header existed.
 */
import type { Device } from '../native/device.js';
import { ext4 } from '../native/ext4.js';
import { digestBytes } from '../util/digest.js';

export interface DiskProvenance {
  /** Lower-case hexadecimal SHA-256 of rootfs.ext4.header. */
  headerSha256: string;
  /** Free blocks' bytes and free inodes of the group descriptors. */
  freeBytes: number;
  freeInodes: number;
}

export interface ProvenanceCall {
  signal?: AbortSignal | undefined;
}

/** The provenance of a disk about to be published; undefined when its filesystem is not clean. */
export async function describeProvenance(
  disk: Device,
  header: Uint8Array,
  options: ProvenanceCall = {},
): Promise<DiskProvenance | undefined> {
  const stats = await ext4.stats(disk, options);
  if (!stats.clean) return undefined;
  return { headerSha256: digestBytes(header), freeBytes: stats.freeBytes, freeInodes: stats.freeInodeCount };
}

/** True when the disk is the one that was sealed, and clean. */
export async function hasProvenance(
  disk: Device,
  header: Uint8Array,
  expected: DiskProvenance | undefined,
  options: ProvenanceCall = {},
): Promise<boolean> {
  if (expected === undefined) return false;
  const actual = await describeProvenance(disk, header, options);
  return (
    actual !== undefined &&
    actual.headerSha256 === expected.headerSha256 &&
    actual.freeBytes === expected.freeBytes &&
    actual.freeInodes === expected.freeInodes
  );
}

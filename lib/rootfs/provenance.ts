/**
 * What makes a disk "sealed clean by rootloom": its provenance, written into metadata.json when it is sealed, and
 * compared when it is opened, by reading the one block with the superblock.
 *
 * Why that is enough: the header whose digest it carries names every block, and every diff was durable before that header
 * existed, so the disk is the one that was sealed. At that moment its filesystem was clean in every respect that its descriptors
 * can tell; the superblock, with its state, its features and its free counts, is remembered by its digest. A disk with a
 * provenance that holds needs no check of its content before it is resized. One without was made by somebody else, or has changed.
 */
import type { Device } from '../native/device.js';
import { ext4 } from '../native/ext4.js';
import type { Ext4Stats } from '../native/ext4-types.js';
import type { EngineOptions } from '../native/isolation.js';
import { digestBytes } from '../util/digest.js';

export interface DiskProvenance {
  /** Lower-case hexadecimal SHA-256 of rootfs.ext4.header. */
  headerSha256: string;
  /** The same of the filesystem's superblock. */
  superblockSha256: string;
}

export type ProvenanceCall = Pick<EngineOptions, 'signal' | 'isolation' | 'scratchFolder'>;

const SUPERBLOCK_OFFSET_BYTES = 1024;
const SUPERBLOCK_BYTES = 1024;

async function takeProvenance(
  disk: Device,
  header: Uint8Array,
  options: ProvenanceCall,
): Promise<DiskProvenance> {
  const superblock = await disk.read(SUPERBLOCK_OFFSET_BYTES, SUPERBLOCK_BYTES, options);
  return { headerSha256: digestBytes(header), superblockSha256: digestBytes(superblock) };
}

/**
 * The provenance of a disk about to be published; undefined when its filesystem is not clean. `known` is for whoever has seen
 * already whether it is.
 */
export async function describeProvenance(
  disk: Device,
  header: Uint8Array,
  options: ProvenanceCall = {},
  known?: Pick<Ext4Stats, 'clean'>,
): Promise<DiskProvenance | undefined> {
  const { signal, isolation, scratchFolder } = options;
  const { clean } = known ?? (await ext4.stats(disk, { signal, isolation, scratchFolder }));
  return clean ? await takeProvenance(disk, header, options) : undefined;
}

/** True when the disk is the one that was sealed, and clean. */
export async function hasProvenance(
  disk: Device,
  header: Uint8Array,
  expected: DiskProvenance | undefined,
  options: ProvenanceCall = {},
): Promise<boolean> {
  if (expected?.headerSha256 !== digestBytes(header)) return false;
  const actual = await takeProvenance(disk, header, options);
  return actual.superblockSha256 === expected.superblockSha256;
}

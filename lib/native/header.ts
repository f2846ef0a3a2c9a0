/** Header files: what they say, and their codec. docs/formats.md describes the bytes. */
import { addon, type NativeCall } from './addon.js';
import { callNative, runNative } from './call.js';

/** One range of a device, and where its bytes are stored. All numbers are bytes, and multiples of 4096. */
export interface HeaderMapping {
  offset: number;
  length: number;
  /** The build whose diff holds the range; null for zeros. */
  buildId: string | null;
  /** Where in that diff; 0 for zeros. */
  storageOffset: number;
}

export type Compression = 'none' | 'zstd' | 'lz4';

/** One independently compressed piece of a diff, in bytes. */
export interface DiffFrame {
  /** In the uncompressed diff. */
  offset: number;
  length: number;
  /** In the stored object. */
  storedOffset: number;
  storedLength: number;
}

/** How one build's diff is stored. Only headers of version 4 and 5 say so. */
export interface BuildData {
  buildId: string;
  /** Of the uncompressed diff, in bytes; null when not known. */
  size: number | null;
  /** Of the uncompressed diff, in hexadecimal; null when not known. */
  sha256: string | null;
  compression: Compression;
  /** In order, and only those that some mapping needs. Empty without compression. */
  frames: readonly DiffFrame[];
}

/** What a header file says of a disk or a memory image. */
export interface DiskHeader {
  /** 1 to 5; 1 and 2 are laid out as 3 is. */
  version: number;
  /** In bytes: 4096 for disks. */
  blockSize: number;
  /** Of the device, in bytes. */
  size: number;
  /** 0 for a build that stands alone, one more for each build on top. */
  generation: number;
  buildId: string;
  baseBuildId: string;
  /** Version 4 and 5: the data had not been stored yet when this was written. */
  incomplete: boolean;
  /** In order and without gaps: together they cover the device. Neighbours that read on from each other are one. */
  mappings: readonly HeaderMapping[];
  /** Sorted by build; empty below version 4. */
  builds: readonly BuildData[];
}

/** What a header takes of one build's diff. */
export interface HeaderSource {
  buildId: string;
  /** How many bytes of the device lie in the diff. */
  mappedBytes: number;
  /** Where the last of them ends in the diff, uncompressed. */
  endBytes: number;
}

/** What a header says, with its mappings summed up: there can be millions. */
export interface HeaderSummary extends Omit<DiskHeader, 'mappings'> {
  mappingCount: number;
  /** The builds that mappings refer to, in order of first appearance. */
  sources: readonly HeaderSource[];
}

interface RawBuildData {
  buildId: string;
  size: number;
  sha256: Uint8Array;
  compression: number;
  frames: Float64Array;
}

/** A header as it crosses to the addon: mappings in columns, in pages, builds by their index in `sources`. */
interface RawHeader extends Omit<DiskHeader, 'mappings' | 'builds'> {
  sources: string[];
  offsetPages: Uint32Array;
  lengthPages: Uint32Array;
  storagePages: Uint32Array;
  sourceIndexes: Uint16Array;
  builds: RawBuildData[];
}

type RawHeaderSummary = Omit<HeaderSummary, 'builds'> & { builds: RawBuildData[] };

const native = addon as {
  decodeHeader(options: { bytes: Uint8Array }): RawHeader;
  summarizeHeader(options: { bytes: Uint8Array }): NativeCall<RawHeaderSummary>;
  encodeHeader(header: RawHeader): Buffer;
};

const PAGE_BYTES = 4096;
const MAX_PAGES = 2 ** 32 - 1;
const ZERO_SOURCE = 0xffff;
const COMPRESSIONS: readonly Compression[] = ['none', 'zstd', 'lz4'];
const FRAME_NUMBERS = 4;
const UNKNOWN_SHA256 = new Uint8Array(32);

function fromRawBuildData({ buildId, size, sha256, compression, frames }: RawBuildData): BuildData {
  const digest = Buffer.from(sha256);
  return {
    buildId,
    size: size === 0 ? null : size,
    sha256: digest.equals(UNKNOWN_SHA256) ? null : digest.toString('hex'),
    compression: COMPRESSIONS[compression] as Compression,
    frames: Array.from({ length: frames.length / FRAME_NUMBERS }, (_, index) => {
      const [offset, length, storedOffset, storedLength] = frames.subarray(index * FRAME_NUMBERS);
      return { offset, length, storedOffset, storedLength } as DiffFrame;
    }),
  };
}

function toRawBuildData({ buildId, size, sha256, compression, frames }: BuildData): RawBuildData {
  if (sha256 !== null && !/^[0-9a-f]{64}$/i.test(sha256)) {
    throw new RangeError(
      `Cannot encode header: the SHA-256 of build ${buildId} is not 64 hexadecimal digits`,
    );
  }
  return {
    buildId,
    size: size ?? 0,
    sha256: sha256 === null ? UNKNOWN_SHA256 : Uint8Array.from(Buffer.from(sha256, 'hex')),
    compression: COMPRESSIONS.indexOf(compression),
    frames: Float64Array.from(
      frames.flatMap(({ offset, length, storedOffset, storedLength }) => [
        offset,
        length,
        storedOffset,
        storedLength,
      ]),
    ),
  };
}

function toPages(bytes: number, what: string, index: number): number {
  const pages = bytes / PAGE_BYTES;
  if (Number.isInteger(pages) && pages >= 0 && pages <= MAX_PAGES) return pages;
  throw new RangeError(
    `Cannot encode header: the ${what} of mapping ${index} is ${bytes}, a multiple of 4096 up to 16 TiB was expected`,
  );
}

/**
 * Reads a header file of any version. Every byte sequence is a header or throws: CORRUPT, or UNSUPPORTED for a version,
 * flag or codec that is not known here. The result follows all rules of the format, whoever wrote the file.
 */
export function decodeHeader(bytes: Uint8Array): DiskHeader {
  if (!(bytes instanceof Uint8Array)) throw new TypeError('Cannot decode header: it must be a Uint8Array');
  const { sources, offsetPages, lengthPages, storagePages, sourceIndexes, builds, ...rest } = callNative(() =>
    native.decodeHeader({ bytes }),
  );
  const mappings = Array.from(offsetPages, (page, index): HeaderMapping => {
    const source = sourceIndexes[index] as number;
    return {
      offset: page * PAGE_BYTES,
      length: (lengthPages[index] as number) * PAGE_BYTES,
      buildId: source === ZERO_SOURCE ? null : (sources[source] as string),
      storageOffset: (storagePages[index] as number) * PAGE_BYTES,
    };
  });
  return { ...rest, mappings, builds: builds.map(fromRawBuildData) };
}

/**
 * Reads a header file as `decodeHeader` does, on a thread of its own and without making an object of every mapping: what
 * who only wants to know what a build needs calls. Rejects with CORRUPT, UNSUPPORTED, or `signal.reason`.
 */
export async function summarizeHeader(
  bytes: Uint8Array,
  options: { signal?: AbortSignal | undefined } = {},
): Promise<HeaderSummary> {
  const { builds, ...rest } = await runNative(() => native.summarizeHeader({ bytes }), options);
  return { ...rest, builds: builds.map(fromRawBuildData) };
}

/**
 * Writes a header in the layout of its version. Mappings that read on from each other are joined, and frames that no
 * mapping needs are left out. Throws INVALID_ARGUMENT for a header that breaks a rule of the format, or that says what
 * its version has no place for: version 3 knows neither compressed builds nor incomplete ones.
 */
export function encodeHeader(header: DiskHeader): Buffer {
  const count = header.mappings.length;
  const raw: RawHeader = {
    ...header,
    sources: [],
    offsetPages: new Uint32Array(count),
    lengthPages: new Uint32Array(count),
    storagePages: new Uint32Array(count),
    sourceIndexes: new Uint16Array(count),
    builds: header.builds.map(toRawBuildData),
  };
  const indexes = new Map<string, number>();
  for (const [index, { offset, length, buildId, storageOffset }] of header.mappings.entries()) {
    raw.offsetPages[index] = toPages(offset, 'offset', index);
    raw.lengthPages[index] = toPages(length, 'length', index);
    raw.storagePages[index] = toPages(storageOffset, 'storage offset', index);
    raw.sourceIndexes[index] = buildId === null ? ZERO_SOURCE : toSourceIndex(raw.sources, indexes, buildId);
  }
  return callNative(() => native.encodeHeader(raw));
}

function toSourceIndex(sources: string[], indexes: Map<string, number>, buildId: string): number {
  const key = buildId.toLowerCase();
  const known = indexes.get(key);
  if (known !== undefined) return known;
  if (sources.length === ZERO_SOURCE) {
    throw new RangeError('Cannot encode header: it refers to more than 65535 builds');
  }
  indexes.set(key, sources.length);
  return sources.push(key) - 1;
}

/** What a header tells about its build and the builds it needs. */
import {
  type BuildData,
  type Compression,
  type HeaderSource,
  type HeaderSummary,
  summarizeHeader,
} from '../native/header.js';

/** The artifacts that are stored as chains. */
export type ArtifactName = 'rootfs' | 'memfile';

/** What an artifact's objects are called. */
export const ARTIFACT_OBJECTS = {
  rootfs: { data: 'rootfs.ext4', header: 'rootfs.ext4.header' },
  memfile: { data: 'memfile', header: 'memfile.header' },
} as const;

/** How one build's diff is stored, and how much of it a header needs. */
export interface Source {
  buildId: string;
  compression: Compression;
  /** How long the stored object must be at least for what is mapped to it, in bytes. */
  neededBytes: number;
  /** Exactly how long the stored object is, where that is known. */
  size: number | undefined;
  /** SHA-256 of the stored object, where that is known. */
  sha256: string | undefined;
}

/** A header that has been read. Immutable. */
export class HeaderView {
  private constructor(
    readonly bytes: Uint8Array,
    readonly summary: HeaderSummary,
    /** Each build that is needed to read the artifact, by its id. */
    readonly sources: ReadonlyMap<string, Source>,
  ) {}

  /** Reads a header file's bytes without holding up the event loop. Rejects as `summarizeHeader` does. */
  static async read(bytes: Uint8Array): Promise<HeaderView> {
    const summary = await summarizeHeader(bytes);
    return new HeaderView(bytes, summary, findSources(summary));
  }

  /** Of the artifact, in bytes. */
  get size(): number {
    return this.summary.size;
  }

  /** The build that the header belongs to. */
  get buildId(): string {
    return this.summary.buildId;
  }
}

function findSources({ sources, builds }: HeaderSummary): Map<string, Source> {
  const known = new Map(builds.map((build) => [build.buildId, build]));
  return new Map(sources.map((source) => [source.buildId, makeSource(source, known.get(source.buildId))]));
}

/** What headers say of a diff is about its uncompressed bytes; only its frames say what a compressed object holds. */
function makeSource({ buildId, endBytes }: HeaderSource, data: BuildData | undefined): Source {
  if (data === undefined || data.compression === 'none') {
    const [size, sha256] = [data?.size ?? undefined, data?.sha256 ?? undefined];
    return { buildId, compression: 'none', neededBytes: endBytes, size, sha256 };
  }
  const last = data.frames.at(-1);
  const neededBytes = last === undefined ? 0 : last.storedOffset + last.storedLength;
  return { buildId, compression: data.compression, neededBytes, size: undefined, sha256: undefined };
}

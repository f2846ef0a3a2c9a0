/** What a header tells about its build and the builds it needs. */
import { type BuildData, type Compression, type DiskHeader, decodeHeader } from '../native/header.js';

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

/** A decoded header. Immutable. */
export class HeaderView {
  readonly header: DiskHeader;
  /** Each build that is needed to read the artifact, by its id. */
  readonly sources: ReadonlyMap<string, Source>;

  /** Throws CORRUPT or UNSUPPORTED as `decodeHeader` does. */
  constructor(readonly bytes: Uint8Array) {
    this.header = decodeHeader(bytes);
    this.sources = findSources(this.header);
  }

  /** Of the artifact, in bytes. */
  get size(): number {
    return this.header.size;
  }

  /** The build that the header belongs to. */
  get buildId(): string {
    return this.header.buildId;
  }
}

function findSources({ mappings, builds }: DiskHeader): Map<string, Source> {
  const known = new Map(builds.map((build) => [build.buildId, build]));
  const sources = new Map<string, Source>();
  for (const { buildId, storageOffset, length } of mappings) {
    if (buildId === null) continue;
    let source = sources.get(buildId);
    if (source === undefined) {
      source = makeSource(buildId, known.get(buildId));
      sources.set(buildId, source);
    }
    if (source.compression === 'none')
      source.neededBytes = Math.max(source.neededBytes, storageOffset + length);
  }
  return sources;
}

/** What headers say of a diff is about its uncompressed bytes; only its frames say what a compressed object holds. */
function makeSource(buildId: string, data: BuildData | undefined): Source {
  if (data === undefined || data.compression === 'none') {
    const [size, sha256] = [data?.size ?? undefined, data?.sha256 ?? undefined];
    return { buildId, compression: 'none', neededBytes: 0, size, sha256 };
  }
  const last = data.frames.at(-1);
  const neededBytes = last === undefined ? 0 : last.storedOffset + last.storedLength;
  return { buildId, compression: data.compression, neededBytes, size: undefined, sha256: undefined };
}

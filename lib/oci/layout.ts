/**
 * An image layout folder, and the choice of one image in it.
 *
 * index.json lists images, or indexes of images, to any reasonable depth. The selector picks among the entries of index.json.
 * Without one they must be one image, by name, or the platforms of one. The platform then picks among the manifests that are
 * reached; inside a nested index the first of equals counts, as the specification says, while two unlike entries of index.json
 * that suit equally are ambiguous.
 */
import { join } from 'node:path';
import { RootloomError } from '../errors.js';
import { readJsonFile } from '../util/atomic-file.js';
import { statIfThere } from '../util/lookup.js';
import { BlobFolder } from './blobs.js';
import { isConfigType, isIndexType, isManifestType } from './media-types.js';
import { formatPlatform, type Platform, rankPlatform } from './platform.js';
import type { ImageSelector } from './reference.js';
import { configSchema, type Descriptor, indexSchema, layoutSchema, manifestSchema } from './schemas.js';

const MAX_INDEX_DEPTH = 8;
const REF_NAME = 'org.opencontainers.image.ref.name';
/** containerd writes the full name here, and the bare tag above. */
const CONTAINERD_NAME = 'io.containerd.image.name';
/** BuildKit marks its attestations, which sit among the images, with this. */
const REFERENCE_TYPE = 'vnd.docker.reference.type';

/** A manifest that was reached from an entry of index.json. */
interface Candidate {
  entry: Descriptor;
  manifest: Descriptor;
  platform: Platform;
  /** Digests on the way, its own included. */
  trail: readonly string[];
}

export class ImageLayout {
  private constructor(
    readonly path: string,
    readonly blobs: BlobFolder,
    private readonly entries: readonly Descriptor[],
  ) {}

  /** Rejects with NOT_FOUND when there is no image layout, UNSUPPORTED for another version of it, CORRUPT, IO. */
  static async open(path: string): Promise<ImageLayout> {
    const marker = join(path, 'oci-layout');
    if ((await statIfThere(marker)) === undefined) {
      const message = `Cannot open the image layout ${path}: it has no file oci-layout, wanted the folder of an OCI image layout`;
      throw new RootloomError('NOT_FOUND', message, { path });
    }
    const { imageLayoutVersion } = await readJsonFile(marker, layoutSchema, `the image layout ${path}`);
    if (!imageLayoutVersion.startsWith('1.')) {
      const message = `Cannot open the image layout ${path}: its version is ${imageLayoutVersion}, wanted 1.x`;
      throw new RootloomError('UNSUPPORTED', message, { path });
    }
    const index = await readJsonFile(join(path, 'index.json'), indexSchema, `the index of ${path}`);
    return new ImageLayout(path, new BlobFolder(path), index.manifests);
  }

  /**
   * Finds the manifest of one image.
   *
   * Rejects with NOT_FOUND when no image has that name or platform (the message lists those there are), INVALID_ARGUMENT when
   * several do, UNSUPPORTED when there are only artifacts that are no images, CORRUPT, IO.
   */
  async select(selector: ImageSelector | undefined, platform: Platform): Promise<Descriptor> {
    const entries = this.#entriesNamed(selector);
    const candidates: Candidate[] = [];
    for (const entry of entries) candidates.push(...(await this.#reach(entry, entry, [])));
    const wanted = selector && 'digest' in selector ? selector.digest : undefined;
    const reached = candidates.filter(({ trail }) => wanted === undefined || trail.includes(wanted));
    if (reached.length === 0) {
      if (wanted !== undefined) throw this.#error('NOT_FOUND', `it has no image ${wanted}`);
      throw this.#error('UNSUPPORTED', 'it holds no image for containers, only other artifacts or nothing');
    }
    const ranked = reached.flatMap((candidate) => {
      const rank = rankPlatform(candidate.platform, platform);
      return rank === undefined ? [] : [{ candidate, rank }];
    });
    const top = Math.max(...ranked.map(({ rank }) => rank));
    const best = ranked.filter(({ rank }) => rank === top).map(({ candidate }) => candidate);
    const [first] = best;
    if (first === undefined) {
      const offered = [...new Set(reached.map((each) => formatPlatform(each.platform)))].join(', ');
      throw this.#error('NOT_FOUND', `the image is for ${offered}, wanted ${formatPlatform(platform)}`);
    }
    const choices = new Set(best.map(({ entry }) => entry.digest));
    if (choices.size > 1) throw this.#ambiguous([...choices].map((digest) => `@${digest}`));
    return first.manifest;
  }

  #entriesNamed(selector: ImageSelector | undefined): readonly Descriptor[] {
    if (selector !== undefined && 'digest' in selector) return this.entries;
    if (selector !== undefined) {
      const named = this.entries.filter((entry) => namesOf(entry).includes(selector.tag));
      if (named.length > 0) return named;
      const tags = this.entries.flatMap((entry) => namesOf(entry).slice(0, 1));
      const has =
        tags.length > 0 ? `it has the tags ${[...new Set(tags)].join(', ')}` : 'its images have no tags';
      throw this.#error('NOT_FOUND', `${has}, wanted ${selector.tag}`);
    }
    const names = new Map<string, string>();
    for (const entry of this.entries) names.set(namesOf(entry)[0] ?? '', entry.digest);
    if (names.size > 1 && new Set(this.entries.map(({ digest }) => digest)).size > 1) {
      throw this.#ambiguous([...names].map(([name, digest]) => (name === '' ? `@${digest}` : `:${name}`)));
    }
    return this.entries;
  }

  async #reach(entry: Descriptor, at: Descriptor, above: readonly string[]): Promise<Candidate[]> {
    const trail = [...above, at.digest];
    if (at.annotations?.[REFERENCE_TYPE] !== undefined) return [];
    if (isIndexType(at.mediaType)) {
      if (trail.length > MAX_INDEX_DEPTH)
        throw this.#error('UNSUPPORTED', `its indexes are over ${MAX_INDEX_DEPTH} deep`);
      const index = await this.blobs.readDocument(at, indexSchema, 'the index');
      const reached = await Promise.all(index.manifests.map((next) => this.#reach(entry, next, trail)));
      return reached.flat();
    }
    if (!isManifestType(at.mediaType)) return [];
    const platform = at.platform ?? (await this.#platformOf(at));
    return platform === undefined ? [] : [{ entry, manifest: at, platform, trail }];
  }

  /** Read from the configuration of an image whose descriptor does not say; undefined for an artifact that is no image. */
  async #platformOf(descriptor: Descriptor): Promise<Platform | undefined> {
    const { config } = await this.blobs.readDocument(descriptor, manifestSchema, 'the manifest');
    if (!isConfigType(config.mediaType)) return undefined;
    const { os, architecture, variant } = await this.blobs.readDocument(
      config,
      configSchema,
      'the configuration',
    );
    return { os, architecture, variant };
  }

  #ambiguous(choices: readonly string[]): RootloomError {
    const list = choices.join(', ');
    return this.#error(
      'INVALID_ARGUMENT',
      `several images suit, wanted one of them named after the path: ${list}`,
    );
  }

  #error(code: 'NOT_FOUND' | 'UNSUPPORTED' | 'INVALID_ARGUMENT', problem: string): RootloomError {
    return new RootloomError(code, `Cannot choose an image of ${this.path}: ${problem}`, { path: this.path });
  }
}

/** What a tag is compared with; the one shown first. */
function namesOf({ annotations }: Descriptor): string[] {
  return [annotations?.[REF_NAME], annotations?.[CONTAINERD_NAME]].filter((name) => name !== undefined);
}

/** A published build: what it is, and its artifacts as devices. */
import { isRootloomError, RootloomError } from '../errors.js';
import { openChain } from '../native/chain.js';
import type { Device } from '../native/device.js';
import { parseBuildId } from '../storage/keys.js';
import type { Store } from '../storage/store.js';
import { locateDiff } from './diffs.js';
import { ARTIFACT_OBJECTS, type ArtifactName, HeaderView } from './header-view.js';
import { type BuildMetadata, parseMetadata } from './metadata.js';
import { requireThere, type VerifyOptions, type VerifyReport, verifyBuild } from './verify.js';

export interface BuildCallOptions {
  signal?: AbortSignal | undefined;
}

/** Holds nothing open. The store stays its owner's, and must stay open while the build is used. */
export class Build {
  readonly #headers = new Map<ArtifactName, Promise<HeaderView>>();

  constructor(
    readonly store: Store,
    readonly id: string,
    readonly metadata: BuildMetadata,
  ) {}

  /** The header of an artifact; read once. NOT_FOUND when the build has no memory, or has been removed; CORRUPT, UNSUPPORTED, IO. */
  header(artifact: ArtifactName): Promise<HeaderView> {
    let header = this.#headers.get(artifact);
    if (header === undefined) {
      header = this.#loadHeader(artifact);
      header.catch(() => this.#headers.delete(artifact));
      this.#headers.set(artifact, header);
    }
    return header;
  }

  /** The header's bytes, as stored. Fails like `header`. */
  async readHeader(artifact: ArtifactName): Promise<Uint8Array> {
    return (await this.header(artifact)).bytes;
  }

  /** The other builds that an artifact's data lies in, sorted. Fails like `header`. */
  async ancestors(artifact: ArtifactName): Promise<string[]> {
    const { sources } = await this.header(artifact);
    return [...sources.keys()].filter((id) => id !== this.id).sort();
  }

  /**
   * Opens the disk, read-only, over its whole chain. Every diff has been found and has the right length then, though none is open
   * yet. The caller closes the device.
   *
   * Rejects with NOT_FOUND when the build has been removed; CORRUPT when a header is damaged or a build of the chain, or a part of
   * its data, is missing; UNSUPPORTED; IO; `signal.reason`.
   */
  openDisk(options: BuildCallOptions = {}): Promise<Device> {
    return this.#open('rootfs', options);
  }

  /** The same with the guest's memory. NOT_FOUND also when the build has none. */
  openMemory(options: BuildCallOptions = {}): Promise<Device> {
    return this.#open('memfile', options);
  }

  /** The VM state's local file, valid while the build exists. NOT_FOUND when the build has none. */
  snapfilePath(): Promise<string> {
    return this.store.localPath({ buildId: this.id, name: 'snapfile' });
  }

  /**
   * Checks the build against its metadata and its chain: everything there, headers as they were published, every diff of the right
   * length. `deep` also reads all data, and compares it with its digests where they were recorded: the report says how much of it
   * that was. Rejects with CORRUPT, NOT_FOUND when the build is gone, IO, or `signal.reason`.
   */
  verify(options: VerifyOptions = {}): Promise<VerifyReport> {
    // A build of its own, for this one may have read its headers before they were damaged.
    return verifyBuild(new Build(this.store, this.id, this.metadata), options);
  }

  async #loadHeader(artifact: ArtifactName): Promise<HeaderView> {
    const name = ARTIFACT_OBJECTS[artifact].header;
    const reading = this.store.readObject({ buildId: this.id, name });
    const bytes = await (artifact === 'rootfs' ? requireThere(this, name, reading) : reading);
    const view = await this.#decode(bytes, name);
    if (view.buildId === this.id) return view;
    const message = `Cannot read ${name} of build ${this.id}: it belongs to build ${view.buildId}, wanted its own`;
    throw new RootloomError('CORRUPT', message, { buildId: this.id });
  }

  async #decode(bytes: Uint8Array, name: string): Promise<HeaderView> {
    try {
      return await HeaderView.read(bytes);
    } catch (cause) {
      if (!isRootloomError(cause)) throw cause;
      const message = `Cannot read ${name} of build ${this.id}: ${cause.message}`;
      throw new RootloomError(cause.code, message, { ...cause.context, buildId: this.id }, { cause });
    }
  }

  async #open(artifact: ArtifactName, { signal }: BuildCallOptions): Promise<Device> {
    const { bytes, sources } = await this.header(artifact);
    const diffs: Record<string, { path: string }> = {};
    for (const source of sources.values()) {
      signal?.throwIfAborted();
      diffs[source.buildId] = await locateDiff(this.store, this.id, artifact, source);
    }
    signal?.throwIfAborted();
    return openChain({ header: bytes, diffs });
  }
}

/**
 * Opens a build. Only its metadata is read yet.
 *
 * Rejects with TypeError for an id that is no UUID; NOT_FOUND; CORRUPT or UNSUPPORTED metadata; IO; `signal.reason`.
 */
export async function openBuild(
  store: Store,
  buildId: string,
  { signal }: BuildCallOptions = {},
): Promise<Build> {
  const id = parseBuildId(buildId);
  const bytes = await store.readObject({ buildId: id, name: 'metadata.json' }, { signal });
  return new Build(store, id, parseMetadata(bytes, id));
}

/** Whether a build is there with all that it needs; the check behind every cache hit. Rejects with UNSUPPORTED, IO, `signal.reason`. */
export async function isWhole(build: Build, options: BuildCallOptions = {}): Promise<boolean> {
  try {
    await build.verify(options);
    return true;
  } catch (error) {
    if (isRootloomError(error, 'CORRUPT') || isRootloomError(error, 'NOT_FOUND')) return false;
    throw error;
  }
}

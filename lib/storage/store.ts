/**
 * Where builds live: the one interface of all stores.
 *
 * A build is immutable and is either there, whole and durable, or not there: for every reader of every process, at any moment,
 * also after a crash. What makes it exist is its metadata.json; an object of a build without one is NOT_FOUND.
 */
import type { ProgressListener } from '../util/progress.js';
import type { LayerKey, ObjectKey, ObjectName } from './keys.js';

export interface StoreCallOptions {
  /** Aborts the call, which then rejects with the signal's reason and has changed nothing that a reader sees. */
  signal?: AbortSignal | undefined;
}

export interface ObjectStat {
  /** Length in bytes. */
  size: number;
  /** What it takes of the store's space, in bytes: less than its length where holes are not stored. */
  storedBytes: number;
}

/** A folder of this process, inside the store when that is a folder, so that what is made there moves in by renaming. */
export interface Staging extends AsyncDisposable {
  readonly path: string;
}

export interface NewBuild {
  buildId: string;
  /**
   * Local files, by the name they get; metadata.json is not among them. `publish` takes them over: they are moved, and are gone
   * afterwards even when it fails.
   */
  files: ReadonlyMap<Exclude<ObjectName, 'metadata.json'>, string>;
  /** Becomes metadata.json. */
  metadata: object;
}

export interface CommitOptions extends StoreCallOptions {
  /**
   * Runs last before the build appears or disappears, while no other call publishes into or removes from this store, in any
   * process: what it finds still holds when the build does. When it rejects, nothing happens and its error comes through. It must
   * be quick, and must not publish or remove itself.
   */
  precondition?: () => Promise<void>;
}

export interface PublishOptions extends CommitOptions {
  /** Steps `data`, `headers`, `metadata`, `commit`; bytes count only what has to be copied. */
  onProgress?: ProgressListener | undefined;
}

export interface Store extends AsyncDisposable {
  /** Where it is, as `openStore` takes it; without credentials. */
  readonly url: string;

  /** The ids of all builds, sorted. */
  listBuilds(options?: StoreCallOptions): Promise<string[]>;
  hasBuild(buildId: string): Promise<boolean>;
  /** All that is stored of a build, by name; names that rootloom does not know are included. NOT_FOUND without the build. */
  listObjects(buildId: string): Promise<Map<string, ObjectStat>>;
  /** Reads a small object (header, metadata) whole. NOT_FOUND when it or its build is not there. */
  readObject(key: ObjectKey, options?: StoreCallOptions): Promise<Buffer>;
  /**
   * A local file with the object's bytes, to be read only. It stays valid while the build exists; a descriptor opened before the
   * build is removed stays valid until it is closed. NOT_FOUND as above.
   */
  localPath(key: ObjectKey): Promise<string>;

  /** A folder for what is to be published. The caller owns it; if the process is killed, the next `openStore` removes it. */
  createStaging(options?: StoreCallOptions): Promise<Staging>;
  /**
   * Makes a build exist. Data is durable before headers, headers before metadata.json, and that before the build appears, which
   * is one step. Rejects with INVALID_ARGUMENT when the build exists, BUSY when another program is writing it, NO_SPACE, IO, NOT_FOUND
   * for a missing local file, or what the precondition says; the build does not exist then.
   */
  publish(build: NewBuild, options?: PublishOptions): Promise<void>;
  /**
   * Makes a build not exist, in one step, and then frees its space. Whether other builds need it is the precondition's to say.
   * Also removes what another program left unfinished under that id. NOT_FOUND when there is nothing.
   */
  remove(buildId: string, options?: CommitOptions): Promise<void>;

  /** The build that was stored for a layer, which may have been removed since; undefined when none was. CORRUPT for a bad entry. */
  readLayer(layer: LayerKey): Promise<string | undefined>;
  /** Remembers, durably, a published build for a layer; replaces an older one. */
  writeLayer(layer: LayerKey, buildId: string): Promise<void>;
  /** Forgets a layer, if it is known. */
  removeLayer(layer: LayerKey): Promise<void>;

  /**
   * Waits for `work` in `close`, which rejects with what it rejects with. For what is left of a call that was aborted, and works on
   * files of this store: see `answerAbort`.
   */
  adopt(work: Promise<unknown>): void;

  /** Releases what the store holds; later calls reject with CLOSED. Staging folders are their owners' to release. */
  close(): Promise<void>;
}

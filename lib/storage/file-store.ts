/**
 * A store in a folder:
 *
 *     templates/{buildId}/{object}         the reference's template storage, as file://<store>/templates
 *     cache/{scope}/index/{hash}           the reference's build cache, as file://<store>/cache
 *     .rootloom/tmp/{uuid}/                owned folders: staging, builds being assembled; builds being removed
 *     .rootloom/lock/                      held for the moment in which a build appears or disappears
 *
 * A build is assembled in an owned folder, in the order of the publish contract, each stage synced, and appears by one rename
 * of that folder. It disappears by one rename too. So `templates` never shows a part of a build, and a kill at any moment
 * leaves only folders without a living owner, which the next open removes. All of it is to be on one filesystem that one
 * machine uses. A reader of a build that is being removed finds all of it or NOT_FOUND.
 */
import { randomUUID } from 'node:crypto';
import { readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { isRootloomError, RootloomError } from '../errors.js';
import { AdoptedWork } from '../util/adopted-work.js';
import { makeFolder, syncPath } from '../util/atomic-file.js';
import { withCleaner } from '../util/cleaner.js';
import { withFileLock } from '../util/file-lock.js';
import { listIfThere, statIfThere } from '../util/lookup.js';
import { OwnedFolder, sweepOwnedFolders } from '../util/owned-folder.js';
import { isSystemError, withSystemErrors } from '../util/system-error.js';
import { assembleBuild } from './assemble.js';
import { COMMIT_MARK, isBuildId, type LayerKey, type ObjectKey, parseBuildId } from './keys.js';
import { LayerIndex } from './layer-index.js';
import type {
  CommitOptions,
  NewBuild,
  ObjectStat,
  PublishOptions,
  Staging,
  Store,
  StoreCallOptions,
} from './store.js';

export class FileStore implements Store {
  readonly url: string;
  readonly #layers: LayerIndex;
  readonly #adopted = new AdoptedWork();
  #isClosed = false;

  private constructor(
    /** The store's folder, absolute. */
    readonly root: string,
  ) {
    this.url = pathToFileURL(root).href;
    this.#layers = new LayerIndex(join(root, 'cache'), this.#temporaryArea);
  }

  /** See `openStore`. */
  static async open(root: string, { signal }: StoreCallOptions = {}): Promise<FileStore> {
    signal?.throwIfAborted();
    const store = new FileStore(root);
    const found = await statIfThere(root);
    if (found !== undefined && !found.isDirectory()) {
      throw new RootloomError(
        'INVALID_ARGUMENT',
        `Cannot open the store ${root}: it is a file, wanted a folder`,
        { path: root },
      );
    }
    await store.#sweep(signal);
    return store;
  }

  async listBuilds({ signal }: StoreCallOptions = {}): Promise<string[]> {
    this.#throwIfClosed();
    const builds: string[] = [];
    for (const name of await listIfThere(this.#templates)) {
      signal?.throwIfAborted();
      if (isBuildId(name) && (await this.hasBuild(name))) builds.push(name);
    }
    return builds.sort();
  }

  async hasBuild(buildId: string): Promise<boolean> {
    this.#throwIfClosed();
    return (await statIfThere(this.#objectPath({ buildId, name: COMMIT_MARK }))) !== undefined;
  }

  async listObjects(buildId: string): Promise<Map<string, ObjectStat>> {
    await this.#requireBuild(buildId);
    const folder = this.#buildFolder(buildId);
    const objects = new Map<string, ObjectStat>();
    for (const name of await listIfThere(folder)) {
      const found = await statIfThere(join(folder, name));
      if (found?.isFile()) objects.set(name, { size: found.size, storedBytes: found.blocks * 512 });
    }
    await this.#requireBuild(buildId); // Else part of it may have gone while it was listed.
    return objects;
  }

  async readObject(key: ObjectKey, { signal }: StoreCallOptions = {}): Promise<Buffer> {
    const path = await this.localPath(key);
    signal?.throwIfAborted();
    return withSystemErrors('read', path, () => readFile(path));
  }

  async localPath(key: ObjectKey): Promise<string> {
    await this.#requireBuild(key.buildId);
    const path = this.#objectPath(key);
    if ((await statIfThere(path)) !== undefined) return path;
    await this.#requireBuild(key.buildId);
    const message = `Cannot open ${key.name} of build ${key.buildId}: the build has none`;
    throw new RootloomError('NOT_FOUND', message, { buildId: key.buildId, path });
  }

  async createStaging({ signal }: StoreCallOptions = {}): Promise<Staging> {
    this.#throwIfClosed();
    return OwnedFolder.create(this.#temporaryArea, signal);
  }

  async publish(build: NewBuild, options: PublishOptions = {}): Promise<void> {
    this.#throwIfClosed();
    const { signal, onProgress } = options;
    signal?.throwIfAborted();
    const target = this.#buildFolder(build.buildId);
    await this.#requireFree(build.buildId);
    await using assembly = await OwnedFolder.create(this.#temporaryArea, signal);
    const folder = join(assembly.path, 'build');
    await assembleBuild(build, folder, options);
    onProgress?.({ step: 'commit', done: 0, total: 0 });
    await makeFolder(this.#templates);
    await this.#alone(options, async () => {
      await this.#requireFree(build.buildId);
      await withSystemErrors('publish', target, () => this.#show(folder, target));
    });
  }

  async remove(buildId: string, options: CommitOptions = {}): Promise<void> {
    this.#throwIfClosed();
    const folder = this.#buildFolder(buildId);
    if ((await statIfThere(folder)) === undefined) throw noBuild(buildId);
    // A folder without an owner: if we are killed, the next open removes it. Making an owned one could fail on a full disk.
    const trash = join(this.#temporaryArea, randomUUID());
    await makeFolder(this.#temporaryArea);
    await this.#alone(options, async () => {
      await withSystemErrors('remove', folder, () => rename(folder, trash));
      await syncPath(this.#templates);
    });
    await withSystemErrors('remove', trash, () => rm(trash, { recursive: true, force: true }));
  }

  async readLayer(layer: LayerKey): Promise<string | undefined> {
    this.#throwIfClosed();
    return this.#layers.read(layer);
  }

  async writeLayer(layer: LayerKey, buildId: string): Promise<void> {
    this.#throwIfClosed();
    await this.#layers.write(layer, buildId);
  }

  async removeLayer(layer: LayerKey): Promise<void> {
    this.#throwIfClosed();
    await this.#layers.remove(layer);
  }

  adopt(work: Promise<unknown>): void {
    this.#adopted.add(work);
  }

  async close(): Promise<void> {
    try {
      // What is left of an aborted call may have to take back what it has published.
      await this.#adopted.settle(`the store ${this.root}`);
    } finally {
      this.#isClosed = true;
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  get #templates(): string {
    return join(this.root, 'templates');
  }

  get #temporaryArea(): string {
    return join(this.root, '.rootloom', 'tmp');
  }

  #buildFolder(buildId: string): string {
    return join(this.#templates, parseBuildId(buildId));
  }

  #objectPath({ buildId, name }: ObjectKey): string {
    return join(this.#buildFolder(buildId), name);
  }

  /** Removes what killed processes left. Whoever may only read the store leaves that to those who may change it. */
  async #sweep(signal: AbortSignal | undefined): Promise<void> {
    try {
      await sweepOwnedFolders(this.#temporaryArea, signal);
    } catch (error) {
      const isDenied = isRootloomError(error) && isSystemError(error.cause, 'EACCES', 'EPERM', 'EROFS');
      if (!isDenied) throw error;
    }
  }

  /** Makes an assembled build visible and durable; when that fails, it is not visible. */
  #show(folder: string, target: string): Promise<void> {
    return withCleaner('the publication', async (cleaner) => {
      await rename(folder, target);
      const hide = () => rename(target, folder);
      cleaner.defer('the build that could not be made durable', hide);
      await syncPath(this.#templates);
      cleaner.dismiss(hide);
    });
  }

  /** Runs the precondition and then `change`, with no other publication or removal in between. */
  async #alone({ signal, precondition }: CommitOptions, change: () => Promise<void>): Promise<void> {
    await withFileLock(join(this.root, '.rootloom', 'lock'), signal, async () => {
      await precondition?.();
      signal?.throwIfAborted();
      await change();
    });
  }

  #throwIfClosed(): void {
    if (!this.#isClosed) return;
    throw new RootloomError('CLOSED', `Cannot use the store ${this.root}: it is closed, open it again`);
  }

  async #requireBuild(buildId: string): Promise<void> {
    if (!(await this.hasBuild(buildId))) throw noBuild(buildId);
  }

  async #requireFree(buildId: string): Promise<void> {
    const context = { buildId, path: this.#buildFolder(buildId) };
    if (await this.hasBuild(buildId)) {
      const message = `Cannot publish build ${buildId}: it exists, builds never change`;
      throw new RootloomError('INVALID_ARGUMENT', message, context);
    }
    if ((await listIfThere(context.path)).length === 0) return; // A rename replaces an empty folder.
    const message = `Cannot publish build ${buildId}: another program's unfinished build has that id, remove it first`;
    throw new RootloomError('BUSY', message, context);
  }
}

function noBuild(buildId: string): RootloomError {
  return new RootloomError('NOT_FOUND', `Cannot find build ${buildId}: the store has none of that id`, {
    buildId,
  });
}

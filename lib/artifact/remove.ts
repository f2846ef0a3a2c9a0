/** Which builds need which, and the removal of those that none needs. */
import { isRootloomError, RootloomError } from '../errors.js';
import { parseBuildId } from '../storage/keys.js';
import type { Store } from '../storage/store.js';
import { type Build, type BuildCallOptions, openBuild } from './build.js';

export interface RemoveOptions extends BuildCallOptions {
  /** Removes the build although others need it, or cannot be asked: they are broken afterwards. Default false. */
  force?: boolean | undefined;
}

/**
 * The builds whose disk or memory has data in this one, sorted. Reads every header of the store.
 *
 * Rejects with CORRUPT or UNSUPPORTED when the header of another build cannot be read, for then nobody knows; IO;
 * `signal.reason`.
 */
export async function dependents(
  store: Store,
  buildId: string,
  { signal }: BuildCallOptions = {},
): Promise<string[]> {
  const id = parseBuildId(buildId);
  const found: string[] = [];
  for (const other of await store.listBuilds({ signal })) {
    signal?.throwIfAborted();
    if (other !== id && (await needs(store, other, id))) found.push(other);
  }
  return found;
}

/**
 * Removes a build that no other needs, and the cache entry that leads to it.
 *
 * Rejects with NOT_FOUND; BUSY when other builds need it (the message names them); as `dependents` does; IO; `signal.reason`.
 * No build that needs it can be published in between.
 */
export async function removeBuild(
  store: Store,
  buildId: string,
  { force = false, signal }: RemoveOptions = {},
): Promise<void> {
  const id = parseBuildId(buildId);
  const build = await openForRemoval(store, id);
  const precondition = async () => {
    const others = force ? [] : await dependents(store, id, { signal });
    if (others.length === 0) return;
    const message = `Cannot remove build ${id}: ${others.join(', ')} need its data, remove them first`;
    throw new RootloomError('BUSY', message, { buildId: id });
  };
  await store.remove(id, { precondition, signal });
  const { layerHash, cacheScope } = build?.metadata.rootloom ?? {};
  if (layerHash === undefined || cacheScope === undefined) return;
  const layer = { scope: cacheScope, hash: layerHash };
  if ((await store.readLayer(layer)) === id) await store.removeLayer(layer);
}

/** Undefined for a build whose metadata is damaged or missing: it can be removed all the same. */
async function openForRemoval(store: Store, id: string): Promise<Build | undefined> {
  try {
    return await openBuild(store, id);
  } catch (error) {
    if (isRootloomError(error, 'IO')) throw error;
    return undefined;
  }
}

async function needs(store: Store, other: string, id: string): Promise<boolean> {
  try {
    const build = await openBuild(store, other);
    if ((await build.ancestors('rootfs')).includes(id)) return true;
    const hasMemory = (await store.listObjects(other)).has('memfile.header');
    return hasMemory && (await build.ancestors('memfile')).includes(id);
  } catch (error) {
    if (isRootloomError(error, 'NOT_FOUND')) return false; // Removed meanwhile.
    throw error;
  }
}

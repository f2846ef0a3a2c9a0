/** The removal of builds that no other needs. */
import { isRootloomError, RootloomError } from '../errors.js';
import { parseBuildId } from '../storage/keys.js';
import type { Store } from '../storage/store.js';
import { type Build, type BuildCallOptions, openBuild } from './build.js';
import { Dependencies } from './dependencies.js';

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
  const dependencies = new Dependencies(store);
  await dependencies.update({ except: id, signal });
  return dependencies.on(id);
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
  const build = await openForRemoval(store, id, signal);
  if (force) {
    await store.remove(id, { signal });
  } else {
    const dependencies = new Dependencies(store);
    // Here, and not while publications wait for us; what is left to be read then is what was published in the meantime.
    await dependencies.update({ except: id, signal });
    await removeUnneeded(store, id, dependencies, signal);
  }
  if (build !== undefined) await forgetLayerOf(build);
}

/** Removes a build unless others need it: BUSY. Nothing of it but its objects is touched. Fails as `removeBuild` does. */
export async function removeUnneeded(
  store: Store,
  id: string,
  dependencies: Dependencies,
  signal: AbortSignal | undefined,
): Promise<void> {
  const precondition = async () => {
    await dependencies.update({ except: id, signal });
    const others = dependencies.on(id);
    if (others.length === 0) return;
    const message = `Cannot remove build ${id}: ${others.join(', ')} need its data, remove them first`;
    throw new RootloomError('BUSY', message, { buildId: id });
  };
  await store.remove(id, { precondition, signal });
}

/** Removes the cache entry that leads to a build; one that leads to a later build of the same layer stays. */
export async function forgetLayerOf({ id, store, metadata }: Build): Promise<void> {
  const { layerHash: hash, cacheScope: scope } = metadata.rootloom ?? {};
  if (hash === undefined || scope === undefined) return;
  const layer = { scope, hash };
  if ((await store.readLayer(layer)) === id) await store.removeLayer(layer);
}

/** Undefined for a build whose metadata is damaged or missing: it can be removed all the same. */
async function openForRemoval(
  store: Store,
  id: string,
  signal: AbortSignal | undefined,
): Promise<Build | undefined> {
  try {
    return await openBuild(store, id, { signal });
  } catch (error) {
    signal?.throwIfAborted();
    if (isRootloomError(error, 'IO')) throw error;
    return undefined;
  }
}

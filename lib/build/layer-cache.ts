/** Finds the builds of earlier phases again, by their layer hash. */
import { type Build, isWhole, openBuild } from '../artifact/build.js';
import { isRootloomError } from '../errors.js';
import type { Store } from '../storage/store.js';

/** The one scope of this store's cache: whoever may read the store may share its layers. */
export const CACHE_SCOPE = 'shared';

export interface LayerCacheCall {
  signal?: AbortSignal | undefined;
}

/**
 * The build of a layer when it is there and whole; undefined otherwise, also when the index names a build that was removed
 * or damaged since: it is built again then, and the index entry replaced.
 */
export async function findLayer(
  store: Store,
  hash: string,
  options: LayerCacheCall = {},
): Promise<Build | undefined> {
  try {
    const buildId = await store.readLayer({ scope: CACHE_SCOPE, hash });
    if (buildId === undefined) return undefined;
    const build = await openBuild(store, buildId, options);
    return (await isWhole(build, options)) ? build : undefined;
  } catch (error) {
    if (isRootloomError(error, 'NOT_FOUND') || isRootloomError(error, 'CORRUPT')) return undefined;
    throw error;
  }
}

/** Remembers a published build; the last thing that a phase does. */
export async function rememberLayer(store: Store, hash: string, buildId: string): Promise<void> {
  await store.writeLayer({ scope: CACHE_SCOPE, hash }, buildId);
}

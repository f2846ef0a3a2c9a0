/** Finds the builds of earlier phases again, by their layer hash. */
import { type Build, isWhole, openBuild } from '../artifact/build.js';
import { removeBuild } from '../artifact/remove.js';
import { isRootloomError, type RootloomErrorCode } from '../errors.js';
import type { Store } from '../storage/store.js';

/** The one scope of this store's cache: whoever may read the store may share its layers. */
export const CACHE_SCOPE = 'shared';

/** What makes a cache entry useless, and is no reason to fail: what it led to is built anew, and the entry replaced. */
const MISSES: readonly RootloomErrorCode[] = ['NOT_FOUND', 'CORRUPT', 'UNSUPPORTED'];

export interface LayerCacheCall {
  signal?: AbortSignal | undefined;
}

/** A build under its layer hash, and the build that was there before. */
export interface RememberedLayer {
  buildId: string;
  hash: string;
  replaced: string | undefined;
}

function isMiss(error: unknown): boolean {
  return isRootloomError(error) && MISSES.includes(error.code);
}

/** The build that the index names, whether it exists or not. */
export async function rememberedBuild(store: Store, hash: string): Promise<string | undefined> {
  try {
    return await store.readLayer({ scope: CACHE_SCOPE, hash });
  } catch (error) {
    if (isMiss(error)) return undefined;
    throw error;
  }
}

/**
 * The build of a layer when it is there and whole, and is that layer; undefined otherwise, also when the index names a build that
 * was removed or damaged since, or that a later rootloom wrote in another way.
 */
export async function findLayer(
  store: Store,
  hash: string,
  options: LayerCacheCall = {},
): Promise<Build | undefined> {
  const buildId = await rememberedBuild(store, hash);
  if (buildId === undefined) return undefined;
  try {
    const build = await openBuild(store, buildId, options);
    const isThatLayer = build.metadata.rootloom?.layerHash === hash;
    return isThatLayer && (await isWhole(build, options)) ? build : undefined;
  } catch (error) {
    if (isMiss(error)) return undefined;
    throw error;
  }
}

/** Remembers a published build; the last thing that a phase does. */
export async function rememberLayer(store: Store, hash: string, buildId: string): Promise<void> {
  await store.writeLayer({ scope: CACHE_SCOPE, hash }, buildId);
}

/** Why a layer stays when it is taken back: others need it, or cannot be asked whether they do; or it was never there. */
const REASONS_TO_STAY: readonly RootloomErrorCode[] = ['BUSY', 'CORRUPT', 'UNSUPPORTED', 'NOT_FOUND'];

/**
 * Takes a layer back: removes its build and its index entry, and puts back the entry that it replaced. A build that others have
 * come to need stays, and so does its entry. Nothing happens for a build that was never published.
 */
export async function forgetLayer(store: Store, { buildId, hash, replaced }: RememberedLayer): Promise<void> {
  if (!(await store.hasBuild(buildId))) return;
  try {
    await removeBuild(store, buildId);
  } catch (error) {
    if (isRootloomError(error) && REASONS_TO_STAY.includes(error.code)) return;
    throw error;
  }
  const isFree = (await rememberedBuild(store, hash)) === undefined;
  if (isFree && replaced !== undefined && (await store.hasBuild(replaced)))
    await rememberLayer(store, hash, replaced);
}

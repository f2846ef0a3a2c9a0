/**
 * The removal of layers that no template needs any more.
 *
 * A layer is what a phase before the last one of a template build has published. It is kept for the next build, and is of no use
 * once the templates made of it are gone. Everything else stays, and so does what it needs: templates, resized disks, builds of
 * other programs, and layers so young that the build they belong to may be under way.
 */
import { isRootloomError } from '../errors.js';
import type { CallOptions } from '../native/call.js';
import type { Store } from '../storage/store.js';
import { type Build, openBuild } from './build.js';
import { Dependencies } from './dependencies.js';
import { storedBytesOf } from './inventory.js';
import { forgetLayerOf, removeUnneeded } from './remove.js';

const DEFAULT_AGE_MS = 3_600_000;

/** The logger gets each layer that was removed. */
export interface RemoveUnusedOptions extends Pick<CallOptions, 'signal' | 'logger'> {
  /** Layers that were made less than that ago stay: the build that needs them may not be finished. Default one hour. */
  olderThanMs?: number | undefined;
}

export interface RemovedLayers {
  /** The builds that are gone, in the order of their removal. */
  removed: string[];
  /** What they took of the store, in bytes. */
  freedBytes: number;
}

/**
 * Removes the layers of template builds, and the cache entries that lead to them, that neither a template nor any other remaining
 * build needs; those that need others first. A template build that goes on with such a layer at that moment fails with NOT_FOUND
 * and can be repeated.
 *
 * Rejects with RangeError for an age that is none; CORRUPT or UNSUPPORTED when a build of the store cannot be read, for then
 * nobody knows what it needs, and nothing has been removed; IO; `signal.reason`. What was removed until then stays removed.
 */
export async function removeUnusedLayers(
  store: Store,
  { olderThanMs = DEFAULT_AGE_MS, signal, logger }: RemoveUnusedOptions = {},
): Promise<RemovedLayers> {
  if (!(olderThanMs >= 0)) throw new RangeError(`The age of a layer is 0 ms or more, not ${olderThanMs}`);
  const dependencies = new Dependencies(store);
  await dependencies.update({ signal });
  const madeBefore = Date.now() - olderThanMs;
  const layers = new Map<string, Build>();
  const kept: string[] = [];
  for (const build of await openAll(store, signal)) {
    if (isLayer(build, madeBefore)) layers.set(build.id, build);
    else kept.push(build.id);
  }
  for (const id of reach(kept, dependencies)) layers.delete(id);
  const result: RemovedLayers = { removed: [], freedBytes: 0 };
  for (const layer of dependentsFirst(layers, dependencies)) {
    signal?.throwIfAborted();
    const freedBytes = await removeLayer(layer, dependencies, signal);
    if (freedBytes === undefined) continue;
    result.removed.push(layer.id);
    result.freedBytes += freedBytes;
    logger?.info({ buildId: layer.id, freedBytes }, 'removed a layer that nothing needs');
  }
  return result;
}

async function openAll(store: Store, signal: AbortSignal | undefined): Promise<Build[]> {
  const builds: Build[] = [];
  for (const id of await store.listBuilds({ signal })) {
    try {
      builds.push(await openBuild(store, id, { signal }));
    } catch (error) {
      if (!isRootloomError(error, 'NOT_FOUND')) throw error;
    }
  }
  return builds;
}

/** Template builds give what they make a layer hash; `resizeRootfs` makes builds of the same phases without one. */
function isLayer({ metadata: { rootloom } }: Build, madeBefore: number): boolean {
  if (rootloom?.layerHash === undefined || rootloom.phase === 'template') return false;
  return Date.parse(rootloom.createdAt) <= madeBefore;
}

/** The builds themselves and all that they need. */
function reach(ids: readonly string[], dependencies: Dependencies): Set<string> {
  const reached = new Set<string>(ids);
  for (const id of reached) for (const needed of dependencies.of(id)) reached.add(needed);
  return reached;
}

/** Each after those that need it. */
function dependentsFirst(layers: ReadonlyMap<string, Build>, dependencies: Dependencies): Build[] {
  const ordered: Build[] = [];
  const visited = new Set<string>();
  const visit = (id: string) => {
    const layer = layers.get(id);
    if (layer === undefined || visited.has(id)) return;
    visited.add(id);
    for (const other of dependencies.on(id)) visit(other);
    ordered.push(layer);
  };
  for (const id of layers.keys()) visit(id);
  return ordered;
}

/** Resolves with the bytes that it took; undefined when it has to stay, for a build has come to need it, or is gone already. */
async function removeLayer(
  layer: Build,
  dependencies: Dependencies,
  signal: AbortSignal | undefined,
): Promise<number | undefined> {
  try {
    const storedBytes = await storedBytesOf(layer.store, layer.id);
    await removeUnneeded(layer.store, layer.id, dependencies, signal);
    await forgetLayerOf(layer);
    return storedBytes;
  } catch (error) {
    if (isRootloomError(error, 'BUSY') || isRootloomError(error, 'NOT_FOUND')) return undefined;
    throw error;
  }
}

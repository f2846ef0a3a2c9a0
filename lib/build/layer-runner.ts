/** Runs one phase: answers from the cache when its layer is whole there, builds and remembers it otherwise. */
import { randomUUID } from 'node:crypto';
import { type Build, openBuild } from '../artifact/build.js';
import { storedBytesOf } from '../artifact/inventory.js';
import { RootloomError } from '../errors.js';
import type { Store } from '../storage/store.js';
import { withCleaner } from '../util/cleaner.js';
import type { BuildEvent, PhaseReport } from './events.js';
import {
  findLayer,
  forgetLayer,
  type RememberedLayer,
  rememberedBuild,
  rememberLayer,
} from './layer-cache.js';
import { layerHash } from './layer-hash.js';
import { type Phase, PhaseContext } from './phase.js';

/** One finished layer. */
export interface Layer {
  build: Build;
  hash: string;
  report: PhaseReport;
  /** What `forgetLayer` needs to undo it; undefined when it came from the cache. */
  made: RememberedLayer | undefined;
}

export interface LayerRunOptions {
  store: Store;
  force: boolean;
  signal: AbortSignal;
  emit: (event: BuildEvent) => void;
}

interface MadeLayer {
  build: Build;
  made: RememberedLayer;
  timings: PhaseReport['timings'];
}

/** A parent that was removed under a running phase shows as all kinds of read errors: this is the reason behind them. */
async function explain(error: unknown, parent: Build | undefined, signal: AbortSignal): Promise<unknown> {
  if (signal.aborted || parent === undefined) return error;
  const isThere = await parent.store.hasBuild(parent.id).catch(() => true);
  if (isThere) return error;
  const message = `Cannot build on ${parent.id}: it was removed meanwhile, build again`;
  return new RootloomError('NOT_FOUND', message, { buildId: parent.id }, { cause: error });
}

function buildLayer(
  phase: Phase,
  hash: string,
  parent: Build | undefined,
  { store, signal, emit }: LayerRunOptions,
): Promise<MadeLayer> {
  return withCleaner(`the phase ${phase.name}`, async (cleaner) => {
    const made = { buildId: randomUUID(), hash, replaced: await rememberedBuild(store, hash) };
    const undo = () => forgetLayer(store, made);
    cleaner.defer('the unfinished layer', undo);
    const staging = cleaner.use('the staging folder', await store.createStaging({ signal }));
    const context = new PhaseContext(phase.name, store, made.buildId, hash, staging.path, signal, emit);
    try {
      await phase.run(context, parent);
      signal.throwIfAborted();
      await rememberLayer(store, hash, made.buildId);
      const build = await openBuild(store, made.buildId, { signal });
      cleaner.dismiss(undo);
      return { build, made, timings: context.timings };
    } catch (error) {
      throw await explain(error, parent, signal);
    }
  });
}

/**
 * Gives the layer of a phase on top of its parent's. Rejects with the phase's error, with NOT_FOUND when the parent was removed
 * meanwhile, or with the signal's reason: store and layer index are then as they were.
 */
export async function runLayer(
  phase: Phase,
  parent: Layer | undefined,
  options: LayerRunOptions,
): Promise<Layer> {
  const { store, signal, emit } = options;
  const started = performance.now();
  const hash = layerHash(phase.name, phase.inputs, parent?.hash);
  emit({ type: 'phase-started', phase: phase.name, layerHash: hash });
  const found = options.force ? undefined : await findLayer(store, hash, { signal });
  const isUsable = found !== undefined && (phase.accepts?.(found) ?? true);
  const layer: Partial<MadeLayer> & { build: Build } = isUsable
    ? { build: found }
    : await buildLayer(phase, hash, parent?.build, options);
  const { build, made, timings = [] } = layer;
  const report: PhaseReport = {
    phase: phase.name,
    buildId: build.id,
    layerHash: hash,
    cached: made === undefined,
    durationMs: performance.now() - started,
    storedBytes: made === undefined ? 0 : await storedBytesOf(build.store, build.id),
    timings,
  };
  emit({ type: 'phase-finished', phase: phase.name, report });
  return { build, hash, report, made };
}

/** Runs one phase: answers from the cache when its layer is whole there, builds and remembers it otherwise. */
import { randomUUID } from 'node:crypto';
import { type Build, openBuild } from '../artifact/build.js';
import { removeBuild } from '../artifact/remove.js';
import type { Store } from '../storage/store.js';
import type { BuildEvent, PhaseReport } from './events.js';
import { findLayer, rememberLayer } from './layer-cache.js';
import { layerHash } from './layer-hash.js';
import { type Phase, PhaseContext } from './phase.js';

/** One finished layer. */
export interface Layer {
  build: Build;
  hash: string;
  report: PhaseReport;
}

export interface LayerRunOptions {
  store: Store;
  force: boolean;
  signal: AbortSignal;
  emit: (event: BuildEvent) => void;
}

async function storedBytesOf(build: Build): Promise<number> {
  const objects = await build.store.listObjects(build.id);
  return [...objects.values()].reduce((sum, { storedBytes }) => sum + storedBytes, 0);
}

async function buildLayer(
  phase: Phase,
  hash: string,
  parent: Build | undefined,
  { store, signal, emit }: LayerRunOptions,
): Promise<{ build: Build; context: PhaseContext }> {
  await using staging = await store.createStaging({ signal });
  const buildId = randomUUID();
  const context = new PhaseContext(phase.name, store, buildId, hash, staging.path, signal, emit);
  await phase.run(context, parent);
  try {
    await rememberLayer(store, hash, buildId);
  } catch (error) {
    await removeBuild(store, buildId);
    throw error;
  }
  return { build: await openBuild(store, buildId, { signal }), context };
}

/** Gives the layer of a phase on top of its parent's. Rejects with the phase's error, and has published nothing then. */
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
  const made = found === undefined ? await buildLayer(phase, hash, parent?.build, options) : undefined;
  const build = (found ?? made?.build) as Build;
  const report: PhaseReport = {
    phase: phase.name,
    buildId: build.id,
    layerHash: hash,
    cached: made === undefined,
    durationMs: performance.now() - started,
    storedBytes: made === undefined ? 0 : await storedBytesOf(build),
    timings: made?.context.timings ?? [],
  };
  emit({ type: 'phase-finished', phase: phase.name, report });
  return { build, hash, report };
}

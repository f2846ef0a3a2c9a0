/** The Debian guest of guest-image.ts as a base layer: it boots, and lacks a few packages that provisioning would install. */
import path from 'node:path';
import { publishBuild } from '../../lib/artifact/publish.js';
import { CACHE_SCOPE } from '../../lib/build/layer-cache.js';
import { type Layer, type LayerRunOptions, runLayer } from '../../lib/build/layer-runner.js';
import type { Phase, PhaseContext } from '../../lib/build/phase.js';
import { sealDevice } from '../../lib/native/chain.js';
import { openFileDevice } from '../../lib/native/device.js';
import type { Store } from '../../lib/storage/store.js';
import { guestImage } from './guest-image.js';

class GuestBasePhase implements Phase {
  readonly name = 'base';
  readonly inputs: { image: string };

  constructor(private readonly image: string) {
    this.inputs = { image: path.basename(image) };
  }

  async run({ store, buildId, layerHash, staging, signal }: PhaseContext): Promise<void> {
    const disk = { dataPath: path.join(staging, 'data'), headerPath: path.join(staging, 'header') };
    await using device = await openFileDevice(this.image);
    const files = { diffPath: disk.dataPath, headerPath: disk.headerPath };
    await sealDevice(device, { buildId, blockSize: 4096, ...files }, { signal });
    const description = { phase: 'base', layerHash, cacheScope: CACHE_SCOPE } as const;
    await publishBuild(store, { buildId, disk, description }, { signal });
  }
}

/** What `runLayer` needs, with defaults. */
export function runOptions(store: Store, options: Partial<LayerRunOptions> = {}): LayerRunOptions {
  return { store, force: false, signal: new AbortController().signal, emit: () => {}, ...options };
}

export async function makeGuestBase(store: Store): Promise<Layer> {
  return runLayer(new GuestBasePhase(await guestImage()), undefined, runOptions(store));
}

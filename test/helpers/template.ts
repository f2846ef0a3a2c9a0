/** A template to start sandboxes from, made once and kept in build/fixtures: the guest image, booted and snapshotted. */
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { publishBuild } from '../../lib/artifact/publish.js';
import { CACHE_SCOPE } from '../../lib/build/layer-cache.js';
import { runLayer } from '../../lib/build/layer-runner.js';
import { openMachine } from '../../lib/build/machine.js';
import type { Phase, PhaseContext } from '../../lib/build/phase.js';
import { SnapshotPhase } from '../../lib/build/snapshot-phase.js';
import { openFileDevice, openStore, sealDevice } from '../../lib/index.js';
import { withFileLock } from '../../lib/util/file-lock.js';
import { guestImage } from './guest-image.js';

const FIXTURES = fileURLToPath(new URL('../../build/fixtures', import.meta.url));
const STORE = path.join(FIXTURES, 'template-store');

/** How long the first call may take: it makes the guest image and a kernel bundle, tries KVM, and boots. */
export const TEMPLATE_TIMEOUT_MS = 900_000;

export interface TestTemplate {
  /** The store's folder; nobody else writes to it. */
  store: string;
  buildId: string;
}

/** The image as the disk of a build. */
class GuestImagePhase implements Phase {
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
    const description = { phase: 'base' as const, layerHash, cacheScope: CACHE_SCOPE };
    await publishBuild(store, { buildId, disk, description }, { signal });
  }
}

/** Finds the template, or makes it. A host or a program that it does not fit any more gets another one. */
export async function ensureTemplate(): Promise<TestTemplate> {
  const image = await guestImage();
  return withFileLock(path.join(FIXTURES, 'template-lock'), undefined, async () => {
    await using store = await openStore(STORE);
    const machine = await openMachine();
    const options = { store, force: false, signal: new AbortController().signal, emit: () => {} };
    const base = await runLayer(new GuestImagePhase(image), undefined, options);
    const { build } = await runLayer(new SnapshotPhase(machine, undefined), base, options);
    return { store: STORE, buildId: build.id };
  });
}

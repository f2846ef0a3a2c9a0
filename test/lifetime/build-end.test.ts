/** Builds that are stopped in the middle: by SIGINT, by an error in the caller's loop, by SIGKILL. Nothing outlives them. */
import path from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { openBuild } from '../../lib/artifact/build.js';
import { openStore } from '../../lib/storage/open-store.js';
import { ensureKernelBundle } from '../../lib/vm/kernel-bundle.js';
import { RunDir } from '../../lib/vm/run-dir.js';
import { makeGuestBase } from '../helpers/guest-base.js';
import { GUEST_IMAGE_TIMEOUT_MS } from '../helpers/guest-image.js';
import { useMachineArea } from '../helpers/machine-area.js';
import { makeSmallImage } from '../helpers/small-image.js';
import { type StoreState, stateOf } from '../helpers/store-state.js';
import { makeScratch, makeScratchFolder, startChild } from '../helpers/temporary.js';

const MIB = 1024 ** 2;
const TIMEOUT_MS = 180_000;
const builder = new URL('./children/build-until.ts', import.meta.url);

const area = useMachineArea();
let url: string;
let baseId: string;
let before: StoreState;

beforeAll(async () => {
  await ensureKernelBundle();
  url = path.join(await makeScratchFolder(area.path), 'store');
  await using store = await openStore(url);
  baseId = (await makeGuestBase(store)).build.id;
  before = await stateOf(store);
}, GUEST_IMAGE_TIMEOUT_MS);

/** What is still there of machines; their keepers get a moment to notice. */
async function waitUntilNothingIsLeft(): Promise<void> {
  await expect.poll(async () => (await area.leftovers()).processes, { timeout: 20_000 }).toEqual([]);
  await expect.poll(() => area.leftovers(), { timeout: 20_000 }).toEqual({ processes: [], folders: [] });
}

/** A process that ended between making a run directory and starting a machine leaves it to the next that makes one. */
async function sweepRunDirs(): Promise<void> {
  await (await RunDir.create()).remove();
}

/** The stages of a build: what the child builds, and the step at which it is stopped. */
async function stages(): Promise<{ what: string; step: string }[]> {
  const folder = await makeScratch(area.path);
  const { reference } = await makeSmallImage(folder, { bulkBytes: 16 * MIB });
  return [
    { what: `image:${reference}`, step: 'base: apply layer 1 of 1' },
    { what: 'template', step: 'base: resize' },
    { what: 'template', step: 'provision: provision' },
    { what: 'boot', step: 'template: start machine' },
    { what: 'boot', step: 'template: boot' },
    { what: 'boot', step: 'template: seal memory' },
  ];
}

describe.each(['SIGINT', 'SIGKILL'] as const)('%s', (signal) => {
  test(
    'in any stage leaves no process, socket or file',
    async () => {
      for (const { what, step } of await stages()) {
        const child = startChild(builder, [url, baseId, what, signal === 'SIGINT' ? 'abort' : '']);
        await child.waitFor(step);
        child.process.kill(signal);
        const exitCode = await child.waitForExit();
        expect(exitCode, step).toBe(signal === 'SIGINT' ? 3 : null);
        if (signal === 'SIGKILL') await sweepRunDirs();
        await waitUntilNothingIsLeft();
        // The next start sweeps what a killed process could not remove. Whole layers of it may stay, as in the cache.
        await using store = await openStore(url);
        const after = await stateOf(store);
        expect(after.temporary, step).toEqual([]);
        for (const id of after.builds) {
          await (await openBuild(store, id)).verify({ deep: true });
          if (!before.builds.includes(id)) {
            expect(signal, step).toBe('SIGKILL');
            await store.remove(id);
          }
        }
      }
    },
    TIMEOUT_MS,
  );
});

test(
  'An error thrown in the loop over the events, which nobody catches, leaves no process and no socket',
  async () => {
    for (const step of ['base: resize', 'provision: provision']) {
      const child = startChild(builder, [url, baseId, 'template', `throw@${step}`]);
      expect(await child.waitForExit(), step).toBe(1);
      await sweepRunDirs();
      await waitUntilNothingIsLeft();
      await using store = await openStore(url);
      const { temporary, builds } = await stateOf(store);
      expect(temporary, step).toEqual([]);
      for (const id of builds) if (!before.builds.includes(id)) await store.remove(id);
    }
  },
  TIMEOUT_MS,
);

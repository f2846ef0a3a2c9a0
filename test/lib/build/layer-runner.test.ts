import { truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { removeBuild } from '../../../lib/artifact/remove.js';
import type { BuildEvent } from '../../../lib/build/events.js';
import { forgetLayer, rememberLayer } from '../../../lib/build/layer-cache.js';
import { type Layer, type LayerRunOptions, runLayer } from '../../../lib/build/layer-runner.js';
import type { Phase } from '../../../lib/build/phase.js';
import { resizeRootfs } from '../../../lib/build/resize-rootfs.js';
import type { ObjectName } from '../../../lib/storage/keys.js';
import { openStore } from '../../../lib/storage/open-store.js';
import type { Store } from '../../../lib/storage/store.js';
import { DiskPhase } from '../../helpers/disk-phase.js';
import { stateOf } from '../../helpers/store-state.js';
import { makeScratch } from '../../helpers/temporary.js';

const MIB = 1024 * 1024;

async function makeStore(): Promise<Store> {
  return openStore(path.join(await makeScratch(), 'store'));
}

function run(
  store: Store,
  phase: Phase,
  parent?: Layer,
  options: Partial<LayerRunOptions> = {},
): Promise<Layer> {
  const { signal } = new AbortController();
  return runLayer(phase, parent, { store, force: false, signal, emit: () => {}, ...options });
}

function objectPath(store: Store, buildId: string, name: ObjectName): string {
  return path.join(fileURLToPath(store.url), 'templates', buildId, name);
}

test('runLayer builds a layer once, and says what it did', async () => {
  await using store = await makeStore();
  const events: BuildEvent[] = [];
  const emit = (event: BuildEvent) => void events.push(event);
  const first = await run(store, new DiskPhase(), undefined, { emit });
  const second = await run(store, new DiskPhase(), undefined, { emit });
  expect(second.build.id).toBe(first.build.id);
  expect(first.report).toMatchObject({ phase: 'base', cached: false, buildId: first.build.id });
  expect(first.report.storedBytes).toBeGreaterThan(0);
  expect(first.report.timings.map(({ step }) => step)).toEqual(['seal disk', 'publish']);
  expect(second.report).toMatchObject({ cached: true, storedBytes: 0, timings: [] });
  expect(events.filter(({ type }) => type !== 'step')).toEqual([
    { type: 'phase-started', phase: 'base', layerHash: first.hash },
    { type: 'phase-finished', phase: 'base', report: first.report },
    { type: 'phase-started', phase: 'base', layerHash: first.hash },
    { type: 'phase-finished', phase: 'base', report: second.report },
  ]);
  expect(await stateOf(store)).toEqual({
    builds: [first.build.id],
    temporary: [],
    layers: { [first.hash]: first.build.id },
  });
});

test('runLayer builds other inputs, and the same inputs on another parent, as layers of their own', async () => {
  await using store = await makeStore();
  const one = await run(store, new DiskPhase({ inputs: { size: 1 } }));
  const two = await run(store, new DiskPhase({ inputs: { size: 2 } }));
  const child = () => new DiskPhase({ name: 'provision', content: 'child' });
  const onOne = await run(store, child(), one);
  const onTwo = await run(store, child(), two);
  expect(new Set([one, two, onOne, onTwo].map(({ hash }) => hash)).size).toBe(4);
  expect((await run(store, child(), one)).build.id).toBe(onOne.build.id);
});

test('runLayer with force builds anew, and leads the cache to the new layer', async () => {
  await using store = await makeStore();
  const old = await run(store, new DiskPhase());
  const forced = await run(store, new DiskPhase(), undefined, { force: true });
  expect(forced.build.id).not.toBe(old.build.id);
  expect(forced.report.cached).toBe(false);
  expect((await run(store, new DiskPhase())).build.id).toBe(forced.build.id);
});

test('runLayer builds anew when the cached layer is not whole', async () => {
  const damages: Record<string, (store: Store, layer: Layer) => Promise<void>> = {
    'diff cut short': (store, { build }) => truncate(objectPath(store, build.id, 'rootfs.ext4'), 4096),
    'header cut short': (store, { build }) => truncate(objectPath(store, build.id, 'rootfs.ext4.header'), 40),
    'header of other bytes': (store, { build }) =>
      writeFile(objectPath(store, build.id, 'rootfs.ext4.header'), Buffer.alloc(144, 7)),
    'metadata that is no JSON': (store, { build }) =>
      writeFile(objectPath(store, build.id, 'metadata.json'), '{'),
    'metadata of a later version': (store, { build }) =>
      writeFile(
        objectPath(store, build.id, 'metadata.json'),
        JSON.stringify({ version: 2, rootloom: { formatVersion: 99 } }),
      ),
    'removed build': (store, { build }) => store.remove(build.id),
    'cache entry that is no JSON': (store, { hash }) =>
      writeFile(path.join(fileURLToPath(store.url), 'cache/shared/index', hash), 'no'),
  };
  for (const [name, damage] of Object.entries(damages)) {
    await using store = await makeStore();
    const layer = await run(store, new DiskPhase());
    await damage(store, layer);
    const again = await run(store, new DiskPhase());
    expect(again.report.cached, name).toBe(false);
    expect((await run(store, new DiskPhase())).build.id, name).toBe(again.build.id);
  }
});

test('runLayer does not take the layer of another hash, wherever the index leads', async () => {
  await using store = await makeStore();
  const one = await run(store, new DiskPhase({ inputs: 1 }));
  const two = await run(store, new DiskPhase({ inputs: 2 }));
  await rememberLayer(store, one.hash, two.build.id);
  const again = await run(store, new DiskPhase({ inputs: 1 }));
  expect(again.report.cached).toBe(false);
  expect(again.build.id).not.toBe(two.build.id);
});

test('runLayer asks the phase whether a cached layer is of use here', async () => {
  await using store = await makeStore();
  const layer = await run(store, new DiskPhase());
  const asked: string[] = [];
  const accepts = ({ id }: { id: string }) => asked.push(id) < 0;
  expect((await run(store, new DiskPhase({ accepts }))).report.cached).toBe(false);
  expect(asked).toEqual([layer.build.id]);
});

test('runLayer of a phase that fails, before or after it has published, leaves the store as it was', async () => {
  for (const moment of ['written', 'published'] as const) {
    for (const force of [false, true]) {
      await using store = await makeStore();
      if (force) await run(store, new DiskPhase());
      const before = await stateOf(store);
      const reason = new Error(`failed when ${moment}`);
      const at = (now: string) => {
        if (now === moment) throw reason;
      };
      await expect(run(store, new DiskPhase({ at }), undefined, { force })).rejects.toBe(reason);
      expect(await stateOf(store)).toEqual(before);
    }
  }
});

test('runLayer aborted while its phase runs rejects with the reason and leaves the store as it was', async () => {
  for (const moment of ['written', 'published'] as const) {
    await using store = await makeStore();
    const controller = new AbortController();
    const reason = new Error('enough');
    const at = (now: string) => {
      if (now === moment) controller.abort(reason);
    };
    const { signal } = controller;
    await expect(run(store, new DiskPhase({ at }), undefined, { signal })).rejects.toBe(reason);
    expect(await stateOf(store)).toEqual({ builds: [], temporary: [], layers: {} });
  }
});

test('runLayer says so when its parent was removed under it', async () => {
  await using store = await makeStore();
  const parent = await run(store, new DiskPhase());
  const at = async (now: string) => {
    if (now === 'written') await removeBuild(store, parent.build.id);
  };
  const failure = await run(store, new DiskPhase({ name: 'provision', content: 'child', at }), parent).catch(
    (error) => error,
  );
  expect(failure).toMatchObject({ code: 'NOT_FOUND', context: { buildId: parent.build.id } });
  expect(await stateOf(store)).toEqual({ builds: [], temporary: [], layers: {} });
});

test('A build and the removal of its parent never both succeed', async () => {
  await using store = await makeStore();
  const outcomes = new Set<string>();
  for (let round = 0; round < 24; round += 1) {
    const parent = await run(store, new DiskPhase({ inputs: round }));
    const removal = async () => {
      await new Promise((resolve) => setTimeout(resolve, round * 2));
      await removeBuild(store, parent.build.id);
    };
    const [built, removed] = await Promise.allSettled([
      resizeRootfs(store, parent.build.id, { disk: { size: 32 * MIB } }),
      removal(),
    ]);
    outcomes.add(`${built.status}, ${removed.status}`);
    if (built.status === 'rejected')
      expect(built.reason).toMatchObject({ code: expect.stringMatching(/^(NOT_FOUND|CORRUPT)$/) });
    if (removed.status === 'rejected') expect(removed.reason).toMatchObject({ code: 'BUSY' });
    expect(built.status === 'fulfilled').toBe(await store.hasBuild(parent.build.id));
  }
  expect([...outcomes].filter((outcome) => outcome === 'fulfilled, fulfilled')).toEqual([]);
  expect((await stateOf(store)).temporary).toEqual([]);
});

test('forgetLayer removes a layer with its entry, and puts back what it had replaced', async () => {
  await using store = await makeStore();
  const old = await run(store, new DiskPhase());
  const before = await stateOf(store);
  const forced = await run(store, new DiskPhase(), undefined, { force: true });
  expect(forced.made?.replaced).toBe(old.build.id);
  if (forced.made !== undefined) await forgetLayer(store, forced.made);
  expect(await stateOf(store)).toEqual(before);
});

test('forgetLayer leaves a layer that another build needs, or may need', async () => {
  await using store = await makeStore();
  const needed = await run(store, new DiskPhase({ inputs: 'needed' }));
  const { buildId } = await resizeRootfs(store, needed.build.id, { disk: { size: 32 * MIB } });
  const before = await stateOf(store);
  if (needed.made !== undefined) await forgetLayer(store, needed.made);
  expect(await stateOf(store)).toEqual(before);
  // Nobody can tell any more what this one needs.
  await writeFile(objectPath(store, buildId, 'rootfs.ext4.header'), 'no header');
  if (needed.made !== undefined) await forgetLayer(store, needed.made);
  expect((await stateOf(store)).builds).toEqual(before.builds);
});

import { randomUUID } from 'node:crypto';
import { truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { RootloomMetadata } from '../../../lib/artifact/metadata.js';
import { removeUnusedLayers } from '../../../lib/artifact/unused.js';
import type { Store } from '../../../lib/storage/store.js';
import { digestBytes } from '../../../lib/util/digest.js';
import { makeScratch } from '../../helpers/temporary.js';
import { makeHeader, makeStore, objectPath, PAGE, publishTestBuild } from './builds.js';

const SCOPE = 'shared';

/** What a phase of a template build publishes and remembers; gives the build's id. */
async function publishLayer(
  store: Store,
  phase: RootloomMetadata['phase'],
  { parent, sharesData = true }: { parent?: string; sharesData?: boolean } = {},
): Promise<string> {
  const buildId = randomUUID();
  const layerHash = digestBytes(buildId);
  const description = { phase, layerHash, cacheScope: SCOPE, parentBuildId: parent };
  await publishTestBuild(store, { buildId, parent: sharesData ? parent : undefined, description });
  await store.writeLayer({ scope: SCOPE, hash: layerHash }, buildId);
  return buildId;
}

const remembered = (store: Store, buildId: string) =>
  store.readLayer({ scope: SCOPE, hash: digestBytes(buildId) });

async function publishTemplate(store: Store): Promise<{ base: string; provision: string; template: string }> {
  const base = await publishLayer(store, 'base');
  const provision = await publishLayer(store, 'provision', { parent: base });
  // Its header refers to the provision layer alone; that one to the base.
  const template = await publishLayer(store, 'template', { parent: provision });
  return { base, provision, template };
}

test('removeUnusedLayers removes what no template needs, dependents first, with its cache entries', async () => {
  const store = await makeStore();
  const kept = await publishTemplate(store);
  const gone = await publishTemplate(store);
  await store.remove(gone.template);
  const { removed, freedBytes } = await removeUnusedLayers(store, { olderThanMs: 0 });
  expect(removed).toEqual([gone.provision, gone.base]);
  expect(freedBytes).toBeGreaterThanOrEqual(4 * PAGE);
  expect(await store.listBuilds()).toEqual(Object.values(kept).sort());
  for (const id of removed) expect(await remembered(store, id)).toBeUndefined();
  for (const id of Object.values(kept)) expect(await remembered(store, id)).toBe(id);
  expect(await removeUnusedLayers(store, { olderThanMs: 0 })).toEqual({ removed: [], freedBytes: 0 });
});

test('removeUnusedLayers keeps young layers, and what they need', async () => {
  const store = await makeStore();
  const base = await publishLayer(store, 'base');
  const provision = await publishLayer(store, 'provision', { parent: base });
  const none = { removed: [], freedBytes: 0 };
  expect(await removeUnusedLayers(store)).toEqual(none);
  expect(await removeUnusedLayers(store, { olderThanMs: Number.POSITIVE_INFINITY })).toEqual(none);
  expect(await store.listBuilds()).toEqual([base, provision].sort());
  for (const olderThanMs of [-1, Number.NaN])
    await expect(removeUnusedLayers(store, { olderThanMs })).rejects.toThrow(RangeError);
});

test('removeUnusedLayers removes a layer that a template was made of but has no data in', async () => {
  const store = await makeStore();
  const base = await publishLayer(store, 'base');
  const template = await publishLayer(store, 'template', { parent: base, sharesData: false });
  expect((await removeUnusedLayers(store, { olderThanMs: 0 })).removed).toEqual([base]);
  expect(await store.listBuilds()).toEqual([template]);
});

test('removeUnusedLayers never touches resized disks and builds of other programs, nor what they need', async () => {
  const store = await makeStore();
  const base = await publishLayer(store, 'base');
  const other = await publishLayer(store, 'base');
  const resized = await publishTestBuild(store, { parent: base, description: { phase: 'base' } });
  const lone = await publishTestBuild(store, { description: { phase: 'base' } });
  const foreign = randomUUID();
  const folder = await makeScratch();
  const files = { data: join(folder, 'data'), header: join(folder, 'header') };
  await writeFile(files.data, Buffer.alloc(PAGE, 1));
  await writeFile(
    files.header,
    makeHeader(foreign, [
      [foreign, 0],
      [other, 0],
    ]),
  );
  await store.publish({
    buildId: foreign,
    files: new Map([['rootfs.ext4', files.data] as const, ['rootfs.ext4.header', files.header] as const]),
    metadata: { version: 2, template: { build_id: foreign } },
  });
  expect((await removeUnusedLayers(store, { olderThanMs: 0 })).removed).toEqual([]);
  expect(await store.listBuilds()).toEqual([base, other, resized.build.id, lone.build.id, foreign].sort());
});

test('removeUnusedLayers removes nothing while a build cannot say what it needs', async () => {
  const store = await makeStore();
  const base = await publishLayer(store, 'base');
  const damaged = await publishTestBuild(store);
  await truncate(objectPath(store, damaged.build.id, 'rootfs.ext4.header'), 10);
  const removing = removeUnusedLayers(store, { olderThanMs: 0 });
  await expect(removing).rejects.toMatchObject({ code: 'CORRUPT', context: { buildId: damaged.build.id } });
  expect(await store.hasBuild(base)).toBe(true);
});

test('removeUnusedLayers leaves a layer that a build comes to need meanwhile', async () => {
  const store = await makeStore();
  const base = await publishLayer(store, 'base');
  const provision = await publishLayer(store, 'provision', { parent: base });
  const remove = store.remove.bind(store);
  let template = '';
  store.remove = async (id, options) => {
    if (template === '') template = await publishLayer(store, 'template', { parent: provision });
    await remove(id, options);
  };
  expect((await removeUnusedLayers(store, { olderThanMs: 0 })).removed).toEqual([]);
  expect(await store.listBuilds()).toEqual([base, provision, template].sort());
});

test('removeUnusedLayers stops with the reason of its signal', async () => {
  const store = await makeStore();
  const base = await publishLayer(store, 'base');
  const removing = removeUnusedLayers(store, { olderThanMs: 0, signal: AbortSignal.abort('no') });
  await expect(removing).rejects.toBe('no');
  expect(await store.hasBuild(base)).toBe(true);
});

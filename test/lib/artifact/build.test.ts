import { randomUUID } from 'node:crypto';
import { readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { isWhole, openBuild } from '../../../lib/artifact/build.js';
import { publishBuild } from '../../../lib/artifact/publish.js';
import { dependents, removeBuild } from '../../../lib/artifact/remove.js';
import { digestBytes } from '../../../lib/util/digest.js';
import { makeScratch } from '../../helpers/temporary.js';
import { makeHeader, makeStore, objectPath, PAGE, publishTestBuild, writeArtifact } from './builds.js';

test('publishBuild makes what openBuild opens', async () => {
  const store = await makeStore();
  const { build: made, data } = await publishTestBuild(store);
  const build = await openBuild(store, made.id.toUpperCase());
  expect(build.id).toBe(made.id);
  expect(build.metadata).toEqual(made.metadata);
  const header = Buffer.from(await build.readHeader('rootfs'));
  expect(header.equals(await readFile(objectPath(store, build.id, 'rootfs.ext4.header')))).toBe(true);
  expect(build.metadata.rootloom).toMatchObject({
    phase: 'base',
    disk: { size: 4 * PAGE, diffBytes: 2 * PAGE, headerSha256: digestBytes(header) },
  });
  expect(await build.ancestors('rootfs')).toEqual([]);
  await using disk = await build.openDisk();
  expect(disk.size).toBe(4 * PAGE);
  expect((await disk.read(2 * PAGE, PAGE)).equals(data.subarray(PAGE))).toBe(true);
  expect((await disk.read(PAGE, PAGE)).equals(Buffer.alloc(PAGE))).toBe(true);
  await build.verify({ deep: true });
  expect(await isWhole(build)).toBe(true);
});

test('Build.openDisk reads through the chain', async () => {
  const store = await makeStore();
  const parent = await publishTestBuild(store);
  const child = await publishTestBuild(store, { parent: parent.build.id });
  expect(await child.build.ancestors('rootfs')).toEqual([parent.build.id]);
  await using disk = await child.build.openDisk();
  expect((await disk.read(3 * PAGE, PAGE)).equals(parent.data.subarray(0, PAGE))).toBe(true);
  await child.build.verify({ deep: true });
});

test('Build.openMemory and snapfilePath give a snapshot, and NOT_FOUND without one', async () => {
  const store = await makeStore();
  const { build, data } = await publishTestBuild(store, { memory: true });
  await using memory = await build.openMemory();
  expect((await memory.read(PAGE, PAGE)).equals(data.subarray(0, PAGE))).toBe(true);
  expect(await readFile(await build.snapfilePath(), 'utf8')).toBe('state');
  expect(build.metadata.rootloom?.memory).toMatchObject({ size: 2 * PAGE, diffBytes: PAGE });
  await build.verify({ deep: true });
  const { build: bare } = await publishTestBuild(store);
  await expect(bare.openMemory()).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await expect(bare.snapfilePath()).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await rm(objectPath(store, build.id, 'snapfile'));
  await expect(build.verify()).rejects.toMatchObject({ code: 'CORRUPT', context: { buildId: build.id } });
});

test('openBuild rejects an unknown build, no id and damaged metadata', async () => {
  const store = await makeStore();
  const buildId = randomUUID();
  await expect(openBuild(store, buildId)).rejects.toMatchObject({ code: 'NOT_FOUND', context: { buildId } });
  await expect(openBuild(store, 'latest')).rejects.toThrow(TypeError);
  const { build } = await publishTestBuild(store);
  await writeFile(objectPath(store, build.id, 'metadata.json'), '{"version":2');
  await expect(openBuild(store, build.id)).rejects.toMatchObject({ code: 'CORRUPT' });
});

const damages: [string, string, (path: string) => Promise<void>][] = [
  ['a truncated diff', 'rootfs.ext4', (path) => truncate(path, PAGE)],
  ['a missing diff', 'rootfs.ext4', (path) => rm(path)],
  ['a truncated header', 'rootfs.ext4.header', (path) => truncate(path, 100)],
  ['an empty header', 'rootfs.ext4.header', (path) => truncate(path, 0)],
  ['a missing header', 'rootfs.ext4.header', (path) => rm(path)],
  [
    'a header of another build',
    'rootfs.ext4.header',
    (path) => writeFile(path, makeHeader(randomUUID(), [null])),
  ],
];

test.each(damages)('Build with %s is CORRUPT and not whole', async (_, name, damage) => {
  const store = await makeStore();
  const { build } = await publishTestBuild(store);
  await damage(objectPath(store, build.id, name));
  const corrupt = { code: 'CORRUPT', context: { buildId: build.id } };
  const opened = await openBuild(store, build.id);
  await expect(opened.openDisk()).rejects.toMatchObject(corrupt);
  await expect(opened.verify()).rejects.toMatchObject(corrupt);
  expect(await isWhole(build)).toBe(false);
});

test('Build whose ancestor is missing, cut or longer than published is not whole', async () => {
  const store = await makeStore();
  const parent = await publishTestBuild(store);
  const { build } = await publishTestBuild(store, { parent: parent.build.id });
  const path = objectPath(store, parent.build.id, 'rootfs.ext4');
  const corrupt = { code: 'CORRUPT', context: { buildId: build.id } };
  await truncate(path, PAGE); // Still all that the child's header needs.
  await (await build.openDisk()).close();
  await expect(build.verify()).rejects.toMatchObject(corrupt);
  await truncate(path, 3 * PAGE);
  await expect(build.verify()).rejects.toMatchObject(corrupt);
  await truncate(path, PAGE - 1);
  await expect(build.openDisk()).rejects.toMatchObject(corrupt);
  await removeBuild(store, parent.build.id, { force: true });
  await expect(build.openDisk()).rejects.toMatchObject(corrupt);
  await expect(build.openDisk()).rejects.toThrow(parent.build.id);
  expect(await isWhole(build)).toBe(false);
});

test('Build.verify finds changed headers, and with deep changed data whose digest was recorded', async () => {
  const store = await makeStore();
  const { build } = await publishTestBuild(store, { digestData: true });
  const path = objectPath(store, build.id, 'rootfs.ext4');
  const data = await readFile(path);
  await writeFile(path, Buffer.from(data).fill(0, 10, 20));
  await build.verify();
  await expect(build.verify({ deep: true })).rejects.toMatchObject({ code: 'CORRUPT', context: { path } });
  await writeFile(path, data);
  await build.verify({ deep: true });
  const header = makeHeader(build.id, [[build.id, 0], [build.id, 1], null, null]);
  await writeFile(objectPath(store, build.id, 'rootfs.ext4.header'), header);
  await expect(build.verify()).rejects.toMatchObject({ code: 'CORRUPT' });
});

test('Build.verify tells what it has compared from what it has only found', async () => {
  const store = await makeStore();
  const state = 'state'.length;
  const parent = await publishTestBuild(store, { digestData: true, memory: true });
  expect(await parent.build.verify()).toEqual({ comparedBytes: 0, uncomparedBytes: 3 * PAGE + state });
  expect(await parent.build.verify({ deep: true })).toEqual({
    comparedBytes: 3 * PAGE + state,
    uncomparedBytes: 0,
  });
  const child = await publishTestBuild(store, { parent: parent.build.id, memory: true });
  expect(await child.build.verify({ deep: true })).toEqual({
    comparedBytes: 2 * PAGE,
    uncomparedBytes: 3 * PAGE + state,
  });
  await writeFile(objectPath(store, parent.build.id, 'snapfile'), 'stale');
  await parent.build.verify();
  await expect(parent.build.verify({ deep: true })).rejects.toMatchObject({ code: 'CORRUPT' });
  await writeFile(objectPath(store, child.build.id, 'snapfile'), 'long state');
  await expect(child.build.verify()).rejects.toMatchObject({ code: 'CORRUPT' });
});

test('Build.verify stops with the reason of its signal', async () => {
  const store = await makeStore();
  const { build } = await publishTestBuild(store);
  await expect(isWhole(build, { signal: AbortSignal.abort('no') })).rejects.toBe('no');
});

test('Build that is removed under its reader is NOT_FOUND', async () => {
  const store = await makeStore();
  const { build } = await publishTestBuild(store);
  await store.remove(build.id);
  await expect(build.openDisk()).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await expect(build.verify()).rejects.toMatchObject({ code: 'NOT_FOUND' });
  expect(await isWhole(build)).toBe(false);
});

test('publishBuild refuses parts that do not belong together, and takes nothing', async () => {
  const store = await makeStore();
  const folder = await makeScratch();
  const buildId = randomUUID();
  const description = { phase: 'base' } as const;
  const data = Buffer.alloc(PAGE, 1);
  const short = await writeArtifact(folder, makeHeader(buildId, [[buildId, 1]]), data);
  await expect(publishBuild(store, { buildId, disk: short, description })).rejects.toMatchObject({
    code: 'CORRUPT',
  });
  const foreign = await writeArtifact(folder, makeHeader(randomUUID(), [null]), data);
  await expect(publishBuild(store, { buildId, disk: foreign, description })).rejects.toMatchObject({
    code: 'CORRUPT',
  });
  const lost = randomUUID();
  const orphan = await writeArtifact(folder, makeHeader(buildId, [[lost, 0]]), data);
  const publishing = publishBuild(store, { buildId, disk: orphan, description });
  await expect(publishing).rejects.toMatchObject({ code: 'NOT_FOUND', context: { buildId: lost } });
  const good = await writeArtifact(folder, makeHeader(buildId, [[buildId, 0]]), data);
  const half = { buildId, disk: good, memory: good, description };
  await expect(publishBuild(store, half)).rejects.toThrow(TypeError);
  await stat(good.dataPath);
  expect(await store.listBuilds()).toEqual([]);
});

test('publishBuild accepts a build that changed nothing', async () => {
  const store = await makeStore();
  const parent = await publishTestBuild(store);
  const buildId = randomUUID();
  const header = makeHeader(buildId, [[parent.build.id, 0]]);
  const disk = await writeArtifact(await makeScratch(), header, Buffer.alloc(0));
  const build = await publishBuild(store, { buildId, disk, description: { phase: 'base' } });
  await build.verify({ deep: true });
  expect(await store.listBuilds()).toContain(buildId);
  await using opened = await build.openDisk();
  expect((await opened.read(0, PAGE)).equals(parent.data.subarray(0, PAGE))).toBe(true);
});

test('removeBuild refuses a build that others need, and forgets its cache entry', async () => {
  const store = await makeStore();
  const layer = { scope: 'team', hash: digestBytes('layer') };
  const description = { phase: 'base', layerHash: layer.hash, cacheScope: layer.scope } as const;
  const parent = await publishTestBuild(store, { description });
  await store.writeLayer(layer, parent.build.id);
  const child = await publishTestBuild(store, { parent: parent.build.id });
  const grandchild = await publishTestBuild(store, { parent: child.build.id });
  expect(await dependents(store, parent.build.id)).toEqual([child.build.id]);
  const removing = removeBuild(store, parent.build.id);
  await expect(removing).rejects.toMatchObject({ code: 'BUSY' });
  await expect(removing).rejects.toThrow(child.build.id);
  for (const { build } of [grandchild, child]) await removeBuild(store, build.id);
  expect(await store.readLayer(layer)).toBe(parent.build.id);
  await removeBuild(store, parent.build.id);
  expect(await store.listBuilds()).toEqual([]);
  expect(await store.readLayer(layer)).toBeUndefined();
  await expect(removeBuild(store, parent.build.id)).rejects.toMatchObject({ code: 'NOT_FOUND' });
});

test('removeBuild reads no header of the store while others wait for it, but those of new builds', async () => {
  const store = await makeStore();
  const target = await publishTestBuild(store);
  for (let count = 0; count < 3; count += 1) await publishTestBuild(store);
  const readObject = store.readObject.bind(store);
  const remove = store.remove.bind(store);
  let child = '';
  let inside = false;
  const readInside: string[] = [];
  store.readObject = (key, options) => {
    if (inside) readInside.push(key.buildId);
    return readObject(key, options);
  };
  store.remove = async (id, { precondition, ...options } = {}) => {
    if (child === '') child = (await publishTestBuild(store, { parent: target.build.id })).build.id;
    inside = true;
    await remove(id, { precondition: async () => precondition?.(), ...options }).finally(() => {
      inside = false;
    });
  };
  const removing = removeBuild(store, target.build.id);
  await expect(removing).rejects.toMatchObject({ code: 'BUSY' });
  await expect(removing).rejects.toThrow(child);
  expect(new Set(readInside)).toEqual(new Set([child]));
  await removeBuild(store, child);
  readInside.length = 0;
  await removeBuild(store, target.build.id);
  expect(readInside).toEqual([]);
});

test('removeBuild stops with the reason of its signal, and removes nothing', async () => {
  const store = await makeStore();
  const { build } = await publishTestBuild(store);
  await expect(removeBuild(store, build.id, { signal: AbortSignal.abort('no') })).rejects.toBe('no');
  await build.verify();
});

test('removeBuild leaves a cache entry that leads to a later build', async () => {
  const store = await makeStore();
  const layer = { scope: 'team', hash: digestBytes('layer') };
  const description = { phase: 'base', layerHash: layer.hash, cacheScope: layer.scope } as const;
  const old = await publishTestBuild(store, { description });
  const later = await publishTestBuild(store, { description });
  await store.writeLayer(layer, later.build.id);
  await removeBuild(store, old.build.id);
  expect(await store.readLayer(layer)).toBe(later.build.id);
});

test('removeBuild of a damaged build works; a damaged bystander needs force', async () => {
  const store = await makeStore();
  const damaged = await publishTestBuild(store);
  const other = await publishTestBuild(store);
  await truncate(objectPath(store, damaged.build.id, 'rootfs.ext4.header'), 10);
  await writeFile(objectPath(store, damaged.build.id, 'metadata.json'), '');
  await expect(removeBuild(store, other.build.id)).rejects.toMatchObject({ code: 'CORRUPT' });
  await removeBuild(store, other.build.id, { force: true });
  await removeBuild(store, damaged.build.id);
  expect(await store.listBuilds()).toEqual([]);
});

test('removeBuild and publishBuild of a child never both succeed', async () => {
  const store = await makeStore();
  for (let round = 0; round < 15; round += 1) {
    const parent = await publishTestBuild(store);
    const [published, removed] = await Promise.allSettled([
      publishTestBuild(store, { parent: parent.build.id }),
      removeBuild(store, parent.build.id),
    ]);
    expect([published.status, removed.status].sort()).toEqual(['fulfilled', 'rejected']);
    if (published.status === 'fulfilled') await published.value.build.verify();
    else expect(published.reason).toMatchObject({ code: 'NOT_FOUND' });
  }
});

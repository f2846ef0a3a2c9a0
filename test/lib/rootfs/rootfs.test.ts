import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import type { Build } from '../../../lib/artifact/build.js';
import { resizeRootfs } from '../../../lib/build/resize-rootfs.js';
import { openFileDevice } from '../../../lib/native/device.js';
import { ext4 } from '../../../lib/native/ext4.js';
import { openTree } from '../../../lib/native/ext4-tree.js';
import { validateDiskRequest } from '../../../lib/rootfs/disk-request.js';
import { inspectBuild } from '../../../lib/rootfs/inspect.js';
import { openRootfs } from '../../../lib/rootfs/rootfs.js';
import { openStore } from '../../../lib/storage/open-store.js';
import type { Store } from '../../../lib/storage/store.js';
import { buildBase } from '../../helpers/base-build.js';
import { publishImage } from '../../helpers/image-build.js';
import { makeSmallImage } from '../../helpers/small-image.js';
import { stateOf } from '../../helpers/store-state.js';
import { makeScratch } from '../../helpers/temporary.js';

const MIB = 1024 ** 2;
const UUID = '3f0c5b1e-9a53-8c44-9d11-6a2b7c8d9e0f';

async function makeStore(): Promise<{ folder: string; store: Store }> {
  const folder = await makeScratch();
  return { folder, store: await openStore(path.join(folder, 'store')) };
}

async function makeBase() {
  const { folder, store } = await makeStore();
  const { reference } = await makeSmallImage(folder);
  const { build } = await buildBase({ store, reference, disk: { size: 64 * MIB } });
  return { folder, store, build };
}

/** A raw image with our profile and a file; `damage` gets at it afterwards. */
async function makeImage(
  folder: string,
  damage: (image: string) => Promise<void> = async () => {},
): Promise<string> {
  const image = path.join(folder, 'image.ext4');
  {
    await using device = await openFileDevice(image, { create: 64 * MIB });
    await ext4.mkfs(device, { uuid: UUID, hashSeed: UUID });
    await using tree = await openTree(device, { writable: true });
    await tree.writeFile('/file', 'content');
  }
  await damage(image);
  return image;
}

async function debugfs(image: string, ...commands: string[]): Promise<void> {
  const file = `${image}.commands`;
  await writeFile(file, commands.map((command) => `${command}\n`).join(''));
  await execa('debugfs', ['-w', '-f', file, image], { env: { PATH: `${process.env.PATH}:/usr/sbin:/sbin` } });
}

/** Leaves a block in the journal that the filesystem does not have yet. */
async function leaveJournal(image: string): Promise<void> {
  await writeFile(`${image}.block`, Buffer.alloc(4096, 'n'));
  await debugfs(image, 'jo', `jw -b 7000 ${image}.block`, 'jc');
}

async function codeOf(call: Promise<unknown>): Promise<unknown> {
  return call.then(
    () => 'no error',
    (error) => error.code ?? error.constructor,
  );
}

test('openRootfs reads a build over its chain, and makes no temporary file for that', async () => {
  const { store, build } = await makeBase();
  await using _ = store;
  await using rootfs = await openRootfs(store, build.id);
  expect((await stateOf(store)).temporary).toEqual([]);
  expect(rootfs.device.writable).toBe(false);
  expect((await rootfs.stats()).sizeBytes).toBe(64 * MIB);
  expect(await rootfs.fsck()).toMatchObject({ exitBits: 0, clean: true });
  await using tree = await rootfs.openTree();
  expect((await tree.readFile('/srv/link')).toString().slice(0, 8)).toBe('rootloom');
  await expect(tree.writeFile('/new', '')).rejects.toMatchObject({ code: 'IO' });
});

test('openRootfs for writing gives an overlay that is thrown away', async () => {
  const { store, build } = await makeBase();
  await using _ = store;
  for (const round of [1, 2]) {
    await using rootfs = await openRootfs(store, build.id, { writable: true });
    await using tree = await rootfs.openTree();
    await expect(tree.stat('/new')).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await tree.writeFile('/new', `${round}`);
  }
  expect((await stateOf(store)).temporary).toEqual([]);
  await build.verify({ deep: true });
});

test('openRootfs replays a journal on an overlay that takes no other writes, and leaves the build as it is', async () => {
  const { store, folder } = await makeStore();
  await using _ = store;
  const { id } = await publishImage(store, await makeImage(folder, leaveJournal));
  {
    await using rootfs = await openRootfs(store, id);
    expect(await rootfs.stats()).toMatchObject({ needsRecovery: false, clean: true });
    expect((await rootfs.device.read(7000 * 4096, 4)).toString()).toBe('nnnn');
    expect(rootfs.device.writable).toBe(false);
    await using tree = await rootfs.openTree();
    expect((await tree.readFile('/file')).toString()).toBe('content');
    await expect(tree.writeFile('/file', 'other')).rejects.toMatchObject({ code: 'IO' });
  }
  expect((await stateOf(store)).temporary).toEqual([]);
  await using chain = await (await openRootfs(store, id)).build.openDisk();
  expect(await ext4.stats(chain)).toMatchObject({ needsRecovery: true });
});

test('openRootfs of what is not there or is no filesystem rejects, and leaves nothing open', async () => {
  const { store, folder } = await makeStore();
  await using _ = store;
  expect(await codeOf(openRootfs(store, '0f8fad5b-d9cb-469f-a165-70867728950e'))).toBe('NOT_FOUND');
  expect(await codeOf(openRootfs(store, 'no id'))).toBe(TypeError);
  const noise = path.join(folder, 'noise');
  await writeFile(noise, Buffer.alloc(16 * MIB, 'noise'));
  const { id } = await publishImage(store, noise);
  expect(await codeOf(openRootfs(store, id))).toBe('CORRUPT');
  expect((await stateOf(store)).temporary).toEqual([]);
  const reason = new Error('no');
  await expect(openRootfs(store, id, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
});

test('resizeRootfs checks a disk that it did not seal, when it is told to, and never one that it did', async () => {
  const { store, folder, build } = await makeBase();
  await using _ = store;
  const foreign = await publishImage(store, await makeImage(folder));
  const resize = async (source: Build, check: 'always' | 'auto' | 'never') => {
    const { checked } = await resizeRootfs(store, source.id, { disk: { size: 96 * MIB }, check });
    return checked;
  };
  expect(await resize(build, 'auto')).toBe(false);
  expect(await resize(build, 'always')).toBe(true);
  expect(await resize(foreign, 'auto')).toBe(true);
  expect(await resize(foreign, 'never')).toBe(false);
});

test('resizeRootfs replays a journal first, and refuses a broken filesystem with what is wrong with it', async () => {
  const { store, folder } = await makeStore();
  await using _ = store;
  const unreplayed = await publishImage(store, await makeImage(folder, leaveJournal));
  const disk = { size: 96 * MIB };
  const report = await resizeRootfs(store, unreplayed.id, { disk });
  expect(report).toMatchObject({ replayed: true, checked: true });
  const broken = await publishImage(
    store,
    await makeImage(await makeScratch(), (image) => debugfs(image, 'sif /file links_count 7')),
  );
  const before = await stateOf(store);
  const failure = await resizeRootfs(store, broken.id, { disk }).catch((error) => error);
  expect(failure).toMatchObject({ code: 'CORRUPT', context: { buildId: broken.id } });
  expect(failure.context.logTail.length).toBeGreaterThan(0);
  expect(await stateOf(store)).toEqual(before);
});

test('resizeRootfs resizes a disk again and again, and the last one has every file', async () => {
  const { store, build } = await makeBase();
  await using _ = store;
  let id = build.id;
  for (const size of [200, 64, 1000, 48, 96].map((mib) => mib * MIB)) {
    const report = await resizeRootfs(store, id, { disk: { size } });
    expect(report).toMatchObject({ newSize: size, checked: false });
    id = report.buildId;
  }
  await using rootfs = await openRootfs(store, id);
  expect(await rootfs.fsck()).toMatchObject({ exitBits: 0 });
  await using tree = await rootfs.openTree();
  expect((await tree.readFile('/srv/second-name')).length).toBe(300_000);
});

test('inspectBuild tells what a build is, and verifies it', async () => {
  const { store, build } = await makeBase();
  await using _ = store;
  const grown = await resizeRootfs(store, build.id, { disk: { size: 96 * MIB } });
  const inspection = await inspectBuild(store, grown.buildId, { deep: true });
  expect(inspection.build).toMatchObject({ id: grown.buildId, phase: 'base', parentBuildId: build.id });
  expect(inspection.disk).toMatchObject({ size: 96 * MIB, blockSize: 4096, generation: 1 });
  expect(inspection.filesystem.sizeBytes).toBe(96 * MIB);
  expect(inspection.objects.map(({ name }) => name).sort()).toEqual([
    'metadata.json',
    'rootfs.ext4',
    'rootfs.ext4.header',
  ]);
  expect(new Set(inspection.chain.map(({ buildId }) => buildId))).toEqual(new Set([grown.buildId, build.id]));
});

test('inspectBuild with deep finds a byte that has changed in a diff', async () => {
  const { store, build } = await makeBase();
  await using _ = store;
  const file = await store.localPath({ buildId: build.id, name: 'rootfs.ext4' });
  await using device = await openFileDevice(file, { writable: true });
  const last = await device.read(device.size - 4096, 1);
  await device.write(device.size - 4096, Buffer.of(last.readUInt8(0) ^ 1));
  await inspectBuild(store, build.id);
  expect(await codeOf(inspectBuild(store, build.id, { deep: true }))).toBe('CORRUPT');
});

test('validateDiskRequest takes exact sizes and free space, and says what is wrong with anything else', () => {
  for (const request of [
    { size: 16 * MIB },
    { size: 16 * 1024 ** 4 },
    { free: 0 },
    { free: 1 },
    { free: 12_345 },
  ]) {
    validateDiskRequest(request);
  }
  const wrong: [unknown, unknown][] = [
    [{}, TypeError],
    [{ size: 16 * MIB, free: 1 }, TypeError],
    [{ bytes: 1 }, TypeError],
    [{ size: 16 * MIB + 512 }, RangeError],
    [{ size: '16M' }, RangeError],
    [{ size: Number.NaN }, RangeError],
    [{ size: -4096 }, RangeError],
    [{ free: -1 }, RangeError],
    [{ free: 0.5 }, RangeError],
    [{ free: 2 ** 60 }, RangeError],
    [{ size: 16 * 1024 ** 4 + 4096 }, 'UNSUPPORTED'],
    [{ free: 16 * 1024 ** 4 + 1 }, 'UNSUPPORTED'],
    [{ size: 16 * MIB - 4096 }, 'TOO_SMALL'],
    [{ size: 0 }, 'TOO_SMALL'],
  ];
  for (const [request, expected] of wrong) {
    let thrown: unknown;
    try {
      validateDiskRequest(request as never);
    } catch (error) {
      thrown = error;
    }
    if (typeof expected === 'string')
      expect(thrown, JSON.stringify(request)).toMatchObject({ code: expected });
    else expect(thrown, JSON.stringify(request)).toBeInstanceOf(expected);
  }
});

import path from 'node:path';
import { expect, test } from 'vitest';
import { resizeRootfs } from '../../../lib/build/resize-rootfs.js';
import { openFileDevice } from '../../../lib/native/device.js';
import { ext4 } from '../../../lib/native/ext4.js';
import { openRootfs, type Rootfs } from '../../../lib/rootfs/rootfs.js';
import { openStore } from '../../../lib/storage/open-store.js';
import { buildBase } from '../../helpers/base-build.js';
import { publishImage } from '../../helpers/image-build.js';
import { findProcesses } from '../../helpers/processes.js';
import { makeSmallImage } from '../../helpers/small-image.js';
import { makeScratch } from '../../helpers/temporary.js';

const MIB = 1024 ** 2;
const UUID = '3f0c5b1e-9a53-8c44-9d11-6a2b7c8d9e0f';

/** How many helpers there are while the files of a disk are open. */
async function helpersOfATree(rootfs: Rootfs): Promise<number> {
  await using tree = await rootfs.openTree();
  expect(await tree.stat('/')).toMatchObject({ type: 'directory' });
  return (await findProcesses(`rootloom-ext4\0${process.pid}\0`)).length;
}

test('a disk that only this library has written is worked on in this process, and so is that made from it', async () => {
  const folder = await makeScratch();
  await using store = await openStore(path.join(folder, 'store'));
  const { reference } = await makeSmallImage(folder);
  const { build } = await buildBase({ store, reference, disk: { size: 64 * MIB } });
  const { buildId } = await resizeRootfs(store, build.id, { disk: { size: 128 * MIB } });
  for (const id of [build.id, buildId]) {
    await using rootfs = await openRootfs(store, id);
    expect(rootfs.isolation).toBe('none');
    expect(await helpersOfATree(rootfs)).toBe(0);
    expect(await rootfs.fsck()).toMatchObject({ clean: true });
  }
  await using asWanted = await openRootfs(store, build.id, { isolation: 'process' });
  expect(asWanted.isolation).toBe('process');
  expect(await asWanted.stats()).toMatchObject({ clean: true });
});

test('any other disk is worked on in a process of its own, and so is what is made from it', async () => {
  const folder = await makeScratch();
  await using store = await openStore(path.join(folder, 'store'));
  const image = path.join(folder, 'image.ext4');
  {
    await using device = await openFileDevice(image, { create: 64 * MIB });
    await ext4.mkfs(device, { uuid: UUID, hashSeed: UUID });
  }
  const foreign = await publishImage(store, image);
  const { buildId } = await resizeRootfs(store, foreign.id, { disk: { size: 128 * MIB } });
  for (const id of [foreign.id, buildId]) {
    await using rootfs = await openRootfs(store, id);
    expect(rootfs.isolation).toBe('process');
    expect(await helpersOfATree(rootfs)).toBe(1);
    expect(await rootfs.fsck()).toMatchObject({ clean: true });
  }
});

test('what is no isolation is refused', async () => {
  const folder = await makeScratch();
  await using store = await openStore(path.join(folder, 'store'));
  await expect(openRootfs(store, UUID, { isolation: 'some' as 'none' })).rejects.toThrow(TypeError);
});

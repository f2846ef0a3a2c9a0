import path from 'node:path';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { openBuild } from '../../../lib/artifact/build.js';
import { resizeRootfs } from '../../../lib/build/resize-rootfs.js';
import { copyDeviceToFile } from '../../../lib/native/device.js';
import { openRootfs } from '../../../lib/rootfs/rootfs.js';
import { openStore } from '../../../lib/storage/open-store.js';
import { ensureDebianImage } from '../../../scripts/fixtures/debian-image.js';
import { buildBase } from '../../helpers/base-build.js';
import { publishImage } from '../../helpers/image-build.js';
import { findDifferences, makeSmallBase } from '../../helpers/published-disks.js';
import { checkWithStockTool } from '../../helpers/stock-check.js';
import { makeScratch } from '../../helpers/temporary.js';

const MIB = 1024 ** 2;
const GIB = 1024 ** 3;

test('resizeRootfs grows a Debian disk from 1 to 4 GiB and back, for the price of the metadata, and keeps every file', async () => {
  const folder = await makeScratch();
  const { reference } = await ensureDebianImage();
  await using store = await openStore(path.join(folder, 'store'));
  const { build } = await buildBase({ store, reference, disk: { size: GIB } });
  const grown = await resizeRootfs(store, build.id, { disk: { size: 4 * GIB } });
  expect(grown).toMatchObject({ oldSize: GIB, newSize: 4 * GIB, checked: false, replayed: false });
  expect(grown.diffBytes).toBeLessThan(2 * MIB);
  expect(grown.io.blocksRead).toBeLessThanOrEqual(32);
  const shrunk = await resizeRootfs(store, grown.buildId, { disk: { size: GIB } });
  for (const { buildId } of [grown, shrunk]) {
    expect(await checkWithStockTool(store, buildId, folder)).toMatchObject({ exitCode: 0 });
    expect(await findDifferences(store, build.id, buildId)).toEqual([]);
  }
}, 120_000);

test('resizeRootfs guarantees the free space asked for, and leaves a disk that has it as it is', async () => {
  const { folder, store, build } = await makeSmallBase(64 * MIB);
  await using _ = store;
  const wanted = 700 * MIB + 12_345;
  const { buildId, free } = await resizeRootfs(store, build.id, { disk: { free: wanted } });
  expect(free).toBeGreaterThanOrEqual(wanted);
  await using rootfs = await openRootfs(store, buildId);
  expect((await rootfs.stats()).availableBytes).toBe(free);
  expect(await checkWithStockTool(store, buildId, folder)).toMatchObject({ exitCode: 0 });
  const again = await resizeRootfs(store, buildId, { disk: { free: wanted } });
  expect(again.newSize).toBe(again.oldSize);
});

test('resizeRootfs refuses a disk too small for its content, says the minimum, and that minimum works', async () => {
  const { folder, store, build } = await makeSmallBase(256 * MIB);
  await using _ = store;
  const before = await store.listBuilds();
  const failure = await resizeRootfs(store, build.id, { disk: { size: 16 * MIB } }).catch((error) => error);
  expect(failure).toMatchObject({ code: 'TOO_SMALL' });
  expect(await store.listBuilds()).toEqual(before);
  const { minimum } = failure.context;
  const shrunk = await resizeRootfs(store, build.id, { disk: { size: minimum } });
  expect(shrunk.newSize).toBe(minimum);
  expect(await checkWithStockTool(store, shrunk.buildId, folder)).toMatchObject({ exitCode: 0 });
  expect(await findDifferences(store, build.id, shrunk.buildId)).toEqual([]);
});

test('resizeRootfs of an aborted signal rejects with its reason and publishes nothing', async () => {
  const { store, build } = await makeSmallBase(64 * MIB);
  await using _ = store;
  for (const delay of [0, 1, 5, 20]) {
    const before = await store.listBuilds();
    const controller = new AbortController();
    const reason = new Error(`stopped after ${delay} ms`);
    setTimeout(() => controller.abort(reason), delay);
    const outcome = await resizeRootfs(store, build.id, {
      disk: { size: 2 * GIB },
      signal: controller.signal,
    }).catch((error) => error);
    if (outcome instanceof Error) {
      expect(outcome).toBe(reason);
      expect(await store.listBuilds()).toEqual(before);
    } else {
      await (await openBuild(store, outcome.buildId)).verify({ deep: true });
    }
  }
});

test('resizeRootfs starts no process', async () => {
  const { folder, store, build } = await makeSmallBase(64 * MIB);
  await store.close();
  const trace = path.join(folder, 'trace');
  const child = new URL('./children/resize.ts', import.meta.url).pathname;
  await execa('strace', [
    ...['--follow-forks', '--trace=execve,execveat,fork,vfork', '--quiet=all', '--output', trace],
    ...[
      process.execPath,
      '--import',
      'tsx',
      child,
      path.join(folder, 'store'),
      build.id,
      String(128 * MIB),
      folder,
    ],
  ]);
  const { stdout: before } = await execa('cat', [path.join(folder, 'calls-before')]);
  const { stdout: calls } = await execa('grep', ['-cE', '(execve|execveat|vfork|fork)\\(', trace]);
  // Everything up to the resize (Node itself, the TypeScript loader's helper) is counted before; nothing comes after.
  expect(Number(calls)).toBe(Number(before));
  expect(Number(calls)).toBeGreaterThan(0);
});

test('resizeRootfs gives a foreign disk a provenance, after which it is trusted', async () => {
  const { folder, store, build } = await makeSmallBase(64 * MIB);
  await using _ = store;
  const image = path.join(folder, 'foreign.img');
  {
    await using rootfs = await openRootfs(store, build.id);
    await copyDeviceToFile(rootfs.device, image);
  }
  const foreign = await publishImage(store, image);
  const first = await resizeRootfs(store, foreign.id, { disk: { size: 128 * MIB } });
  const second = await resizeRootfs(store, first.buildId, { disk: { size: 256 * MIB } });
  expect([first.checked, second.checked]).toEqual([true, false]);
});

test('resizeRootfs makes a disk as small as its content was seen to fit', async () => {
  const { folder, store, build } = await makeSmallBase(512 * MIB);
  await using _ = store;
  const least = await resizeRootfs(store, build.id, { disk: 'minimum' });
  expect(least).toMatchObject({ oldSize: 512 * MIB, resultChecked: true });
  expect(least.newSize).toBeLessThan(128 * MIB);
  expect(await checkWithStockTool(store, least.buildId, folder)).toMatchObject({ exitCode: 0 });
  expect(await findDifferences(store, build.id, least.buildId)).toEqual([]);
  await expect(resizeRootfs(store, build.id, { disk: 'least' as never })).rejects.toThrow(TypeError);
});

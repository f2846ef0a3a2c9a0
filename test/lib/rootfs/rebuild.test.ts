import path from 'node:path';
import { expect, test } from 'vitest';
import { openBuild } from '../../../lib/artifact/build.js';
import { resizeRootfs } from '../../../lib/build/resize-rootfs.js';
import type { DiskRequest } from '../../../lib/rootfs/disk-request.js';
import { openRootfs } from '../../../lib/rootfs/rootfs.js';
import { openStore } from '../../../lib/storage/open-store.js';
import { ensureDebianImage } from '../../../scripts/fixtures/debian-image.js';
import { buildBase } from '../../helpers/base-build.js';
import { findDifferences, makeSmallBase } from '../../helpers/published-disks.js';
import { checkWithStockTool } from '../../helpers/stock-check.js';
import { makeScratch } from '../../helpers/temporary.js';

const MIB = 1024 ** 2;
const GIB = 1024 ** 3;
const EVERYTHING = { atime: true, ctime: true, birthtime: true, generation: true };

test('resizeRootfs rebuilds and copies a Debian disk with every file, and a rebuild stores metadata only', async () => {
  const folder = await makeScratch();
  const { reference } = await ensureDebianImage();
  await using store = await openStore(path.join(folder, 'store'));
  const { build } = await buildBase({ store, reference, disk: { size: GIB } });
  const cases = [
    { strategy: 'rebuild', disk: { size: 4 * GIB } },
    { strategy: 'rebuild', disk: { size: GIB / 2 } },
    { strategy: 'copy', disk: { size: 2 * GIB } },
  ] as const;
  for (const request of cases) {
    const made = await resizeRootfs(store, build.id, request);
    expect(made).toMatchObject({ oldSize: GIB, newSize: request.disk.size, checked: false, replayed: false });
    expect(await checkWithStockTool(store, made.buildId, folder)).toMatchObject({ exitCode: 0 });
    expect(await findDifferences(store, build.id, made.buildId, EVERYTHING)).toEqual([]);
    const opened = await openBuild(store, made.buildId);
    await opened.verify({ deep: true });
    const isCopy = request.strategy === 'copy';
    expect(await opened.ancestors('rootfs')).toEqual(isCopy ? [] : [build.id]);
    expect(opened.metadata.rootloom).toMatchObject({ strategy: request.strategy, sourceBuildId: build.id });
    if (!isCopy) expect(made.diffBytes).toBeLessThan(16 * MIB);
  }
}, 120_000);

test('resizeRootfs rebuilds to the free space asked for, and not to much more', async () => {
  const { folder, store, build } = await makeSmallBase(512 * MIB);
  await using _ = store;
  for (const free of [1, 30 * MIB + 12_345, 900 * MIB]) {
    for (const strategy of ['rebuild', 'copy'] as const) {
      const disk: DiskRequest = { free };
      const made = await resizeRootfs(store, build.id, { disk, strategy });
      expect(made.free).toBeGreaterThanOrEqual(free);
      expect(made.free).toBeLessThan(free + 24 * MIB);
      await using rootfs = await openRootfs(store, made.buildId);
      expect((await rootfs.stats()).availableBytes).toBe(made.free);
      expect(await checkWithStockTool(store, made.buildId, folder)).toMatchObject({ exitCode: 0 });
    }
  }
}, 60_000);

test('resizeRootfs refuses a rebuild on a disk too small for its content, says the minimum, and that works', async () => {
  const folder = await makeScratch();
  const { reference } = await ensureDebianImage();
  await using store = await openStore(path.join(folder, 'store'));
  const { build } = await buildBase({ store, reference, disk: { size: GIB } });
  const before = await store.listBuilds();
  for (const strategy of ['rebuild', 'copy'] as const) {
    const size = 200 * MIB;
    const failure = await resizeRootfs(store, build.id, { disk: { size }, strategy }).catch((error) => error);
    expect(failure).toMatchObject({ code: 'TOO_SMALL' });
    expect(failure.context.minimum).toBeGreaterThan(size);
    expect(await store.listBuilds()).toEqual(before);
  }
  const failure = await resizeRootfs(store, build.id, {
    disk: { size: 16 * MIB },
    strategy: 'rebuild',
  }).catch((error) => error);
  const { minimum } = failure.context;
  const made = await resizeRootfs(store, build.id, { disk: { size: minimum }, strategy: 'rebuild' });
  expect(made.newSize).toBe(minimum);
  expect(made.free).toBeLessThan(4 * MIB);
  expect(await checkWithStockTool(store, made.buildId, folder)).toMatchObject({ exitCode: 0 });
  expect(await findDifferences(store, build.id, made.buildId, EVERYTHING)).toEqual([]);
}, 60_000);

test('resizeRootfs with an aborted signal or an unknown strategy leaves the store as it was', async () => {
  const { store, build } = await makeSmallBase(256 * MIB);
  await using _ = store;
  const disk = { size: GIB };
  // @ts-expect-error: what a program in JavaScript may pass
  await expect(resizeRootfs(store, build.id, { disk, strategy: 'other' })).rejects.toThrow(TypeError);
  for (const delay of [0, 1, 3, 8, 20]) {
    for (const strategy of ['rebuild', 'copy'] as const) {
      const before = await store.listBuilds();
      const controller = new AbortController();
      const reason = new Error(`stopped after ${delay} ms`);
      setTimeout(() => controller.abort(reason), delay);
      const options = { disk, strategy, signal: controller.signal };
      const outcome = await resizeRootfs(store, build.id, options).catch((error) => error);
      if (outcome instanceof Error) {
        expect(outcome).toBe(reason);
        expect(await store.listBuilds()).toEqual(before);
      } else {
        await (await openBuild(store, outcome.buildId)).verify({ deep: true });
      }
    }
  }
}, 60_000);

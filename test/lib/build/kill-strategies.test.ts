/** A size change that is killed, by whatever strategy, leaves the old disk, and whole new ones. */
import path from 'node:path';
import { expect, test } from 'vitest';
import { openBuild } from '../../../lib/artifact/build.js';
import { ext4 } from '../../../lib/native/ext4.js';
import { STRATEGIES, type Strategy } from '../../../lib/rootfs/strategy.js';
import { openStore } from '../../../lib/storage/open-store.js';
import type { Store } from '../../../lib/storage/store.js';
import { killAtMoments } from '../../helpers/killed-rounds.js';
import { findDifferences, makeSmallBase } from '../../helpers/published-disks.js';
import { stateOf } from '../../helpers/store-state.js';

const MIB = 1024 ** 2;
const MOMENTS = 25;
const NEW_SIZE = 160 * MIB;
const EVERYTHING = { atime: true, ctime: true, birthtime: true, generation: true };
const resizer = new URL('./children/resize-strategies.ts', import.meta.url);

/** Rejects unless the build is a whole disk of the new size with the source's files. Gives how it was made. */
async function checkWhole(store: Store, sourceId: string, id: string): Promise<Strategy> {
  const build = await openBuild(store, id);
  await build.verify({ deep: true });
  const { strategy } = build.metadata.rootloom as { strategy: Strategy };
  expect(await build.ancestors('rootfs')).toEqual(strategy === 'copy' ? [] : [sourceId]);
  await using disk = await build.openDisk();
  expect(disk.size).toBe(NEW_SIZE);
  expect((await ext4.fsck(disk)).exitBits).toBe(0);
  expect(await findDifferences(store, sourceId, id, strategy === 'resize' ? {} : EVERYTHING)).toEqual([]);
  return strategy;
}

test(`a size change killed at any of ${MOMENTS} moments leaves only whole builds`, async () => {
  const { folder, store: made, build: source } = await makeSmallBase(64 * MIB);
  await made.close();
  const url = path.join(folder, 'store');
  const args = [url, source.id, `${NEW_SIZE}`];
  const checked = new Set([source.id]);
  const seen = new Set<Strategy>();
  await killAtMoments(resizer, args, MOMENTS, async () => {
    await using store = await openStore(url);
    const { builds, temporary } = await stateOf(store);
    expect(temporary).toEqual([]);
    expect(await store.listBuilds()).toEqual(builds.sort());
    expect(builds).toContain(source.id);
    for (const id of builds.filter((each) => !checked.has(each))) {
      seen.add(await checkWhole(store, source.id, id));
      checked.add(id);
    }
    await (await openBuild(store, source.id)).verify({ deep: true });
  });
  expect([...seen].sort()).toEqual([...STRATEGIES].sort());
}, 300_000);

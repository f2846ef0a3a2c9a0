/** A build that is killed leaves nothing that a reader takes for a build, and the next start removes what it left. */
import path from 'node:path';
import { expect, test } from 'vitest';
import { openBuild } from '../../../lib/artifact/build.js';
import { ext4 } from '../../../lib/native/ext4.js';
import { openStore } from '../../../lib/storage/open-store.js';
import { killAtMoments } from '../../helpers/killed-rounds.js';
import { makeSmallImage } from '../../helpers/small-image.js';
import { stateOf } from '../../helpers/store-state.js';
import { makeScratch } from '../../helpers/temporary.js';

const MOMENTS = 50;
const builder = new URL('./children/build-base.ts', import.meta.url);

test(`a build killed at any of ${MOMENTS} moments leaves only whole builds`, async () => {
  const folder = await makeScratch();
  const { reference } = await makeSmallImage(folder);
  const url = path.join(folder, 'store');
  const checked = new Set<string>();
  await killAtMoments(builder, [url, reference], MOMENTS, async () => {
    await using store = await openStore(url);
    const { builds, temporary } = await stateOf(store);
    expect(temporary).toEqual([]);
    expect(await store.listBuilds()).toEqual(builds.sort());
    for (const id of builds.filter((each) => !checked.has(each))) {
      const build = await openBuild(store, id);
      await build.verify({ deep: true });
      await using disk = await build.openDisk();
      expect((await ext4.fsck(disk)).exitBits).toBe(0);
      checked.add(id);
    }
  });
  expect(checked.size).toBeGreaterThan(1);
}, 240_000);

/** A build that is killed leaves nothing that a reader takes for a build, and the next start removes what it left. */
import path from 'node:path';
import { expect, test } from 'vitest';
import { openBuild } from '../../../lib/artifact/build.js';
import { ext4 } from '../../../lib/native/ext4.js';
import { openStore } from '../../../lib/storage/open-store.js';
import { sleep } from '../../../lib/util/abort.js';
import { seededRandom } from '../../helpers/random.js';
import { makeSmallImage } from '../../helpers/small-image.js';
import { stateOf } from '../../helpers/store-state.js';
import { makeScratch, startChild } from '../../helpers/temporary.js';

const MOMENTS = 50;
const builder = new URL('./children/build-base.ts', import.meta.url);

/** How long a build and a resize take here and now; what they made is whole. */
async function measureRound(url: string, reference: string): Promise<number> {
  const child = startChild(builder, [url, reference]);
  await child.waitFor('ready');
  const started = performance.now();
  await child.waitFor('round 0');
  const roundMs = performance.now() - started;
  await child.kill();
  return roundMs;
}

test(`a build killed at any of ${MOMENTS} moments leaves only whole builds`, async () => {
  const random = seededRandom();
  const folder = await makeScratch();
  const { reference } = await makeSmallImage(folder);
  const url = path.join(folder, 'store');
  const roundMs = await measureRound(url, reference);
  const checked = new Set<string>();
  for (let moment = 0; moment < MOMENTS; moment += 1) {
    const child = startChild(builder, [url, reference]);
    await child.waitFor('ready');
    await sleep(random.next() * roundMs * 1.5);
    await child.kill();
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
  }
  expect(checked.size).toBeGreaterThan(1);
}, 240_000);

/** A build that is killed leaves nothing that a reader takes for a build, and the next start removes what it left. */
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { expect, test } from 'vitest';
import { openBuild } from '../../../lib/artifact/build.js';
import { ext4 } from '../../../lib/native/ext4.js';
import { openStore } from '../../../lib/storage/open-store.js';
import { sleep } from '../../../lib/util/abort.js';
import { makeSmallImage } from '../../helpers/small-image.js';
import { makeScratch, startChild } from '../../helpers/temporary.js';

const MOMENTS = 50;
const seed = Number(process.env.ROOTLOOM_SEED ?? Math.floor(Math.random() * 2 ** 31));
const builder = new URL('./children/build-base.ts', import.meta.url);

/** Park and Miller's generator: enough for moments, and the same for the same seed. */
function* moments(count: number): Generator<number> {
  let state = (seed % 2147483646) + 1;
  for (let index = 0; index < count; index += 1) {
    state = (state * 48271) % 2147483647;
    yield (state / 2147483647) * 600;
  }
}

test(`a build killed at any of ${MOMENTS} moments leaves only whole builds (ROOTLOOM_SEED=${seed})`, async () => {
  const folder = await makeScratch();
  const { reference } = await makeSmallImage(folder);
  const url = path.join(folder, 'store');
  let builds = 0;
  for (const moment of moments(MOMENTS)) {
    const child = startChild(builder, [url, reference]);
    await child.waitFor('ready');
    await sleep(moment);
    await child.kill();
    await using store = await openStore(url);
    const ids = await store.listBuilds();
    builds = ids.length;
    for (const id of ids.slice(-3)) {
      const build = await openBuild(store, id);
      await build.verify({ deep: true });
      await using disk = await build.openDisk();
      expect((await ext4.fsck(disk)).exitBits).toBe(0);
    }
    const left = await readdir(path.join(url, '.rootloom', 'tmp'));
    expect(left.filter((name) => name !== 'lock')).toEqual([]);
  }
  expect(builds).toBeGreaterThan(0);
}, 240_000);

/** Processes killed while they publish and remove. No reader may see a part of a build, and the next open must clean up. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openStore } from '../../../lib/storage/open-store.js';
import { digestBytes } from '../../../lib/util/digest.js';
import { seededRandom } from '../../helpers/random.js';
import { makeScratch, startChild } from '../../helpers/temporary.js';

const PUBLISH = new URL('children/publish.ts', import.meta.url);

/** Everything visible is whole, nothing else is there after an open. */
async function expectSound(root: string): Promise<string[]> {
  await using store = await openStore(root);
  const builds = await store.listBuilds();
  for (const buildId of builds) {
    const data = await store.readObject({ buildId, name: 'rootfs.ext4' });
    const header = await store.readObject({ buildId, name: 'rootfs.ext4.header' });
    const metadata = JSON.parse((await store.readObject({ buildId, name: 'metadata.json' })).toString());
    expect(header.toString()).toBe(digestBytes(data));
    expect(metadata.header).toBe(digestBytes(header));
  }
  expect((await readdir(join(root, 'templates'))).sort()).toEqual(builds);
  expect(await readdir(join(root, '.rootloom', 'tmp'))).toEqual(['lock']);
  const index = await readdir(join(root, 'cache', 'test', 'index')).catch(() => []);
  for (const hash of index) expect(await store.readLayer({ scope: 'test', hash })).toBeDefined();
  return builds;
}

test.each(['data', 'headers', 'metadata', 'commit'])(
  'A publisher killed at %s leaves the old builds only',
  async (step) => {
    const root = join(await makeScratch(), 'store');
    const child = startChild(PUBLISH, [root, '100000', step]);
    await child.waitForExit();
    expect(child.process.signalCode).toBe('SIGKILL');
    expect(await expectSound(root)).toHaveLength(1);
  },
);

test('Publishers killed at 50 random moments leave whole builds only', { timeout: 300_000 }, async () => {
  const random = seededRandom();
  const root = join(await makeScratch(), 'store');
  for (let round = 0; round < 10; round += 1) {
    const children = Array.from({ length: 5 }, () =>
      startChild(PUBLISH, [root, String(random.below(200_000))]),
    );
    await Promise.all(children.map((child) => child.waitFor('published')));
    for (const child of children) {
      await new Promise((resolve) => setTimeout(resolve, random.next() * 60));
      await child.kill();
    }
    expect((await expectSound(root)).length).toBeGreaterThan(0);
  }
});

/** Builds that another program stored in the same format. */
import { randomBytes, randomUUID } from 'node:crypto';
import { mkdir, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { isWhole, openBuild } from '../../../lib/artifact/build.js';
import type { DiskHeader } from '../../../lib/native/header.js';
import { makeHeader, makeStore, objectPath, PAGE, publishTestBuild } from './builds.js';

/** Puts a build of two pages into the store's folder, with these objects besides its header. */
async function placeForeignBuild(
  store: { root: string },
  objects: Record<string, Buffer | string>,
  header: Partial<DiskHeader> = {},
): Promise<string> {
  const buildId = header.buildId ?? randomUUID();
  await mkdir(join(store.root, 'templates', buildId), { recursive: true });
  const bytes = makeHeader(
    buildId,
    [
      [buildId, 0],
      [buildId, 1],
    ],
    header,
  );
  const all = { 'rootfs.ext4.header': bytes, 'metadata.json': '{"version":1}', ...objects };
  for (const [name, content] of Object.entries(all))
    await writeFile(objectPath(store, buildId, name), content);
  return buildId;
}

test('openBuild opens a build with the least metadata there is', async () => {
  const store = await makeStore();
  const data = randomBytes(2 * PAGE);
  const buildId = await placeForeignBuild(store, { 'rootfs.ext4': data, 'metadata.json': '{}' });
  const build = await openBuild(store, buildId);
  expect(build.metadata).toEqual({ version: 1 });
  await using disk = await build.openDisk();
  expect((await disk.read(0, 2 * PAGE)).equals(data)).toBe(true);
  await build.verify({ deep: true });
  const child = await publishTestBuild(store, { parent: buildId });
  await child.build.verify({ deep: true });
});

test('Build.openDisk reads a compressed diff, and finds one that is cut', async () => {
  const store = await makeStore();
  const data = Buffer.concat([Buffer.alloc(PAGE, 'text '), randomBytes(PAGE)]);
  const { stdout } = await execa('zstd', ['-c'], { input: data, encoding: 'buffer' });
  const buildId = randomUUID();
  const frames = [{ offset: 0, length: data.length, storedOffset: 0, storedLength: stdout.length }];
  const builds = [{ buildId, size: data.length, sha256: null, compression: 'zstd', frames }] as const;
  await placeForeignBuild(
    store,
    { 'rootfs.ext4.zstd': Buffer.from(stdout) },
    { version: 4, buildId, builds },
  );
  const build = await openBuild(store, buildId);
  await using disk = await build.openDisk();
  expect((await disk.read(0, data.length)).equals(data)).toBe(true);
  expect(await isWhole(build)).toBe(true);
  await truncate(objectPath(store, buildId, 'rootfs.ext4.zstd'), stdout.length - 1);
  expect(await isWhole(build)).toBe(false);
});

test('Build.verify compares lengths and digests that a header records', async () => {
  const store = await makeStore();
  const buildId = randomUUID();
  const sha256 = '0'.repeat(64).replace('0', '1');
  const builds = [{ buildId, size: 2 * PAGE, sha256, compression: 'none', frames: [] }] as const;
  await placeForeignBuild(store, { 'rootfs.ext4': randomBytes(2 * PAGE) }, { version: 4, buildId, builds });
  const build = await openBuild(store, buildId);
  await build.verify();
  await expect(build.verify({ deep: true })).rejects.toMatchObject({ code: 'CORRUPT' });
  await truncate(objectPath(store, buildId, 'rootfs.ext4'), 3 * PAGE);
  await expect(build.verify()).rejects.toMatchObject({ code: 'CORRUPT' });
});

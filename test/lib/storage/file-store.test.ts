import { randomBytes, randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, test } from 'vitest';
import { openStore } from '../../../lib/storage/open-store.js';
import type { Store } from '../../../lib/storage/store.js';
import { digestBytes } from '../../../lib/util/digest.js';
import { makeScratch } from '../../helpers/temporary.js';
import { makeBuild, publishSmallBuild } from './new-build.js';

async function makeStore(): Promise<Store & { root: string }> {
  const root = join(await makeScratch(), 'store');
  return Object.assign(await openStore(root), { root });
}

const temporaryFolders = async (root: string) =>
  (await readdir(join(root, '.rootloom', 'tmp'))).filter((name) => name !== 'lock');

test('openStore changes nothing on its own, and refuses a file', async () => {
  const root = join(await makeScratch(), 'store');
  await using store = await openStore(pathToFileURL(root).href);
  expect(store.url).toBe(pathToFileURL(root).href);
  expect(await store.listBuilds()).toEqual([]);
  expect(await store.readLayer({ scope: 'a', hash: digestBytes('') })).toBeUndefined();
  await expect(stat(root)).rejects.toMatchObject({ code: 'ENOENT' });
  await writeFile(root, '');
  await expect(openStore(root)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
});

test('Store.publish moves the files in, where the reference looks for them', async () => {
  const store = await makeStore();
  await using staging = await store.createStaging();
  const build = await makeBuild(staging.path);
  const { buildId } = build;
  const inode = (await stat(build.files.get('rootfs.ext4') ?? '')).ino;
  expect(await store.hasBuild(buildId)).toBe(false);
  const steps: string[] = [];
  await store.publish(build, { onProgress: ({ step }) => steps.push(step) });
  expect([...new Set(steps)]).toEqual(['data', 'headers', 'metadata', 'commit']);
  const folder = join(store.root, 'templates', buildId);
  expect((await readdir(folder)).sort()).toEqual([
    'metadata.json',
    'rootfs.ext4',
    'rootfs.ext4.header',
    'snapfile',
  ]);
  expect(JSON.parse(await readFile(join(folder, 'metadata.json'), 'utf8'))).toEqual(build.metadata);
  expect(await store.localPath({ buildId, name: 'rootfs.ext4' })).toBe(join(folder, 'rootfs.ext4'));
  expect((await stat(join(folder, 'rootfs.ext4'))).ino).toBe(inode);
  expect((await store.readObject({ buildId, name: 'snapfile' })).toString()).toBe(`snapfile of ${buildId}`);
  expect((await store.listObjects(buildId)).get('snapfile')).toMatchObject({ size: 48 });
  expect(await store.listBuilds()).toEqual([buildId]);
  expect(await readdir(staging.path)).toEqual(['owner']);
});

test('Store.publish takes files from another filesystem', async () => {
  const store = await makeStore();
  const elsewhere = await makeScratch('/dev/shm');
  expect((await stat(elsewhere)).dev, 'the two folders are on one filesystem').not.toBe(
    (await stat(join(store.root, '..'))).dev,
  );
  const build = await makeBuild(elsewhere);
  await store.publish(build);
  expect((await store.readObject({ buildId: build.buildId, name: 'rootfs.ext4' })).toString()).toBe(
    `rootfs.ext4 of ${build.buildId}`,
  );
  expect(await readdir(elsewhere)).toEqual([]);
});

test('Store.publish refuses a build that exists, before it touches the files', async () => {
  const store = await makeStore();
  const buildId = await publishSmallBuild(store);
  const build = await makeBuild(await makeScratch(), buildId);
  await expect(store.publish(build)).rejects.toMatchObject({
    code: 'INVALID_ARGUMENT',
    context: { buildId },
  });
  for (const path of build.files.values()) await stat(path);
});

test('Store.publish by many at once lets one win', async () => {
  const store = await makeStore();
  const buildId = randomUUID();
  const outcomes = await Promise.allSettled(
    Array.from({ length: 8 }, () => publishSmallBuild(store, buildId)),
  );
  expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  for (const outcome of outcomes) {
    if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'INVALID_ARGUMENT' });
  }
  expect(await temporaryFolders(store.root)).toEqual([]);
});

test.each(['data', 'headers', 'metadata', 'commit'])(
  'Store.publish aborted at %s leaves nothing',
  async (fatal) => {
    const store = await makeStore();
    const build = await makeBuild(await makeScratch());
    const controller = new AbortController();
    const reason = new Error('enough');
    const publishing = store.publish(build, {
      signal: controller.signal,
      onProgress: ({ step }) => step === fatal && controller.abort(reason),
    });
    await expect(publishing).rejects.toBe(reason);
    expect(await store.hasBuild(build.buildId)).toBe(false);
    expect(await temporaryFolders(store.root)).toEqual([]);
  },
);

test('Store.publish and Store.remove obey their precondition, and run it alone', async () => {
  const store = await makeStore();
  const reason = new Error('no');
  const build = await makeBuild(await makeScratch());
  await expect(store.publish(build, { precondition: () => Promise.reject(reason) })).rejects.toBe(reason);
  expect(await store.hasBuild(build.buildId)).toBe(false);
  const buildId = await publishSmallBuild(store);
  await expect(store.remove(buildId, { precondition: () => Promise.reject(reason) })).rejects.toBe(reason);
  expect(await store.hasBuild(buildId)).toBe(true);

  let inside = 0;
  const precondition = async () => {
    inside += 1;
    expect(inside).toBe(1);
    await new Promise((resolve) => setTimeout(resolve, 5));
    inside -= 1;
  };
  const work = Array.from({ length: 4 }, async () => {
    const staging = await makeScratch();
    const other = await makeBuild(staging);
    await store.publish(other, { precondition });
    await store.remove(other.buildId, { precondition });
  });
  await Promise.all(work);
});

test('Store.remove hides the build at once and leaves open files alone', async () => {
  const store = await makeStore();
  const buildId = await publishSmallBuild(store);
  const kept = await publishSmallBuild(store);
  await store.remove(buildId);
  expect(await store.listBuilds()).toEqual([kept]);
  await expect(store.readObject({ buildId, name: 'snapfile' })).rejects.toMatchObject({
    code: 'NOT_FOUND',
    context: { buildId },
  });
  await expect(store.listObjects(buildId)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await expect(store.remove(buildId)).rejects.toMatchObject({ code: 'NOT_FOUND', context: { buildId } });
  expect(await temporaryFolders(store.root)).toEqual([]);
});

test('Store.readObject during removal gives the whole object or NOT_FOUND', async () => {
  const store = await makeStore();
  for (let round = 0; round < 20; round += 1) {
    const buildId = await publishSmallBuild(store);
    const reads = Array.from({ length: 10 }, () => store.readObject({ buildId, name: 'rootfs.ext4' }));
    const [, ...results] = await Promise.allSettled([store.remove(buildId), ...reads]);
    for (const result of results) {
      if (result.status === 'fulfilled') expect(result.value.toString()).toBe(`rootfs.ext4 of ${buildId}`);
      else expect(result.reason).toMatchObject({ code: 'NOT_FOUND' });
    }
  }
});

test('A build without metadata.json does not exist, can be removed, and blocks its id', async () => {
  const store = await makeStore();
  const buildId = randomUUID();
  const folder = join(store.root, 'templates', buildId);
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'rootfs.ext4'), 'foreign');
  await mkdir(join(store.root, 'templates', 'lost+found'));
  expect(await store.listBuilds()).toEqual([]);
  await expect(store.localPath({ buildId, name: 'rootfs.ext4' })).rejects.toMatchObject({
    code: 'NOT_FOUND',
  });
  const build = await makeBuild(await makeScratch(), buildId);
  await expect(store.publish(build)).rejects.toMatchObject({ code: 'BUSY' });
  await store.remove(buildId);
  await store.publish(build);
  expect(await store.listBuilds()).toEqual([buildId]);
});

test('Store keys cannot leave the store', async () => {
  const store = await makeStore();
  for (const buildId of ['', '..', '../../etc', 'x', `${randomUUID()}/..`]) {
    await expect(store.hasBuild(buildId)).rejects.toThrow(TypeError);
    await expect(store.remove(buildId)).rejects.toThrow(TypeError);
  }
  const hash = digestBytes('');
  for (const layer of [
    { scope: '..', hash },
    { scope: 'a/b', hash },
    { scope: 'a', hash: '../x' },
    { scope: '', hash },
  ]) {
    await expect(store.readLayer(layer)).rejects.toThrow(TypeError);
  }
});

test('Store remembers layers in the notation of the reference', async () => {
  const store = await makeStore();
  const layer = { scope: 'team-a', hash: digestBytes('x') };
  const [first, second] = [randomUUID(), randomUUID()];
  await store.writeLayer(layer, first);
  expect(await store.readLayer(layer)).toBe(first);
  await store.writeLayer(layer, second);
  expect(await store.readLayer(layer)).toBe(second);
  expect(await store.readLayer({ ...layer, scope: 'team-b' })).toBeUndefined();
  const path = join(store.root, 'cache', 'team-a', 'index', layer.hash);
  expect(JSON.parse(await readFile(path, 'utf8'))).toEqual({ template: { build_id: second } });
  for (const text of ['', '{"template":{"build_id":""}}', '{"template":{"build_id":"../x"}}']) {
    await writeFile(path, text);
    await expect(store.readLayer(layer)).rejects.toMatchObject({ code: 'CORRUPT' });
  }
  await store.removeLayer(layer);
  await store.removeLayer(layer);
  expect(await store.readLayer(layer)).toBeUndefined();
});

test('Store.publish of large files from another filesystem stops when told to', async () => {
  const store = await makeStore();
  const elsewhere = await makeScratch('/dev/shm');
  const build = await makeBuild(elsewhere);
  await writeFile(build.files.get('rootfs.ext4') ?? '', randomBytes(32 << 20));
  const controller = new AbortController();
  const publishing = store.publish(build, {
    signal: controller.signal,
    onProgress: ({ done }) => done > 0 && controller.abort('enough'),
  });
  await expect(publishing).rejects.toBe('enough');
  expect(await temporaryFolders(store.root)).toEqual([]);
});

test('Store.close lets adopted work take back what it has published, and waits for it', async () => {
  const store = await makeStore();
  const buildId = await publishSmallBuild(store);
  let isClosing = () => {};
  const closing = new Promise<void>((resolve) => {
    isClosing = resolve;
  });
  store.adopt(closing.then(() => store.remove(buildId)));
  const closed = store.close();
  isClosing();
  await closed;
  await using again = await openStore(store.root);
  expect(await again.listBuilds()).toEqual([]);
});

test('Store after close rejects with CLOSED', async () => {
  const store = await makeStore();
  await store.close();
  await store.close();
  await expect(store.listBuilds()).rejects.toMatchObject({ code: 'CLOSED' });
  await expect(store.createStaging()).rejects.toMatchObject({ code: 'CLOSED' });
});

import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import type { BuildEvent } from '../../../lib/build/events.js';
import { ImageDisk } from '../../../lib/build/image-disk.js';
import { runLayer } from '../../../lib/build/layer-runner.js';
import type { Phase } from '../../../lib/build/phase.js';
import { publishDisk } from '../../../lib/build/publish-disk.js';
import { openImage } from '../../../lib/oci/image.js';
import { openRootfs } from '../../../lib/rootfs/rootfs.js';
import type { ObjectName } from '../../../lib/storage/keys.js';
import { openStore } from '../../../lib/storage/open-store.js';
import type { Store } from '../../../lib/storage/store.js';
import { ensureDebianImage } from '../../../scripts/fixtures/debian-image.js';
import { buildBase } from '../../helpers/base-build.js';
import { makeSmallImage } from '../../helpers/small-image.js';
import { stateOf } from '../../helpers/store-state.js';
import { makeScratch } from '../../helpers/temporary.js';

const MIB = 1024 ** 2;
const GIB = 1024 ** 3;
const EMPTY = { builds: [], temporary: [], layers: {} };

const fullHost = new URL('./children/full-host.ts', import.meta.url).pathname;

async function makeStore(options: Parameters<typeof makeSmallImage>[1] = {}) {
  const folder = await makeScratch();
  const { reference } = await makeSmallImage(folder, options);
  return { folder, reference, store: await openStore(path.join(folder, 'store')) };
}

async function readObject(store: Store, buildId: string, name: ObjectName): Promise<Buffer> {
  return readFile(await store.localPath({ buildId, name }));
}

/** Adds a layer, a tar archive made by a shell script that runs in an empty folder, to the image of makeSmallImage. */
async function addLayer(folder: string, script: string): Promise<void> {
  const tar = path.join(folder, 'added.tar');
  await execa('sh', ['-ec', `mkdir added && cd added && ${script}`, 'sh', tar], { cwd: folder });
  await execa('umoci', ['raw', 'add-layer', '--image', path.join(folder, 'image:small'), tar]);
}

test('Equal inputs give equal bytes: two forced base builds differ in nothing but the id in their headers', async () => {
  const { reference } = await ensureDebianImage();
  await using store = await openStore(path.join(await makeScratch(), 'store'));
  const build = async () => (await buildBase({ store, reference, disk: { size: GIB }, force: true })).build;
  const [first, second] = [await build(), await build()];
  expect(second.id).not.toBe(first.id);
  const data = await readObject(store, first.id, 'rootfs.ext4');
  expect(data.length).toBeGreaterThan(100 * MIB);
  expect(data.equals(await readObject(store, second.id, 'rootfs.ext4'))).toBe(true);
  const idBytes = (id: string) => Buffer.from(id.replaceAll('-', ''), 'hex').toString('latin1');
  const header = async (id: string) =>
    (await readObject(store, id, 'rootfs.ext4.header')).toString('latin1').replaceAll(idBytes(id), 'id');
  expect(await header(second.id)).toBe(await header(first.id));
  const { diffSha256 } = first.metadata.rootloom?.disk ?? {};
  expect(diffSha256).toMatch(/^[0-9a-f]{64}$/);
  expect(second.metadata.rootloom?.disk.diffSha256).toBe(diffSha256);
}, 120_000);

test('A disk that its image does not fit is TOO_SMALL, says the minimum, and that minimum works', async () => {
  const debian = await ensureDebianImage();
  const small = await makeStore({ bulkBytes: 40 * MIB });
  for (const { reference, size } of [
    { reference: small.reference, size: 32 * MIB },
    { reference: debian.reference, size: 128 * MIB },
  ]) {
    await using store = await openStore(path.join(await makeScratch(), 'store'));
    const failure = await buildBase({ store, reference, disk: { size } }).catch((error) => error);
    expect(failure).toMatchObject({ code: 'TOO_SMALL', context: { minimum: expect.any(Number) } });
    expect(failure.message).toContain(String(failure.context.minimum));
    expect(await stateOf(store)).toEqual(EMPTY);
    const { minimum } = failure.context;
    expect(minimum % 4096).toBe(0);
    expect(minimum).toBeGreaterThan(size);
    const { build } = await buildBase({ store, reference, disk: { size: minimum } });
    await using rootfs = await openRootfs(store, build.id);
    expect(rootfs.device.size).toBe(minimum);
    // It is a minimum, not a guess: hardly any block, or hardly any inode, is left free.
    const { freeBytes, freeInodeCount, inodeCount } = await rootfs.stats();
    expect(freeBytes < minimum * 0.06 || freeInodeCount < inodeCount * 0.03).toBe(true);
  }
}, 120_000);

test('A base disk asked for by its free space is lent room for provisioning', async () => {
  const { store, reference } = await makeStore({ bulkBytes: 20 * MIB });
  await using _ = store;
  const { build } = await buildBase({ store, reference, disk: { free: 300 * MIB } });
  await using rootfs = await openRootfs(store, build.id);
  expect((await rootfs.stats()).availableBytes).toBeGreaterThan(300 * MIB + 4 * GIB);
});

test('ImageDisk.makeWithRoom makes room for an image that unpacks to far more than it seems to', async () => {
  const { store, reference, folder } = await makeStore();
  await using _ = store;
  // 96 MiB of one byte other than zero: some hundred kilobytes compressed.
  await addLayer(folder, 'head -c 96M /dev/zero | tr "\\0" "x" >x && tar -cf "$1" x');
  await using image = await openImage(reference);
  for (const room of [0, 20 * MIB, 200 * MIB]) {
    const phase: Phase = {
      name: 'base',
      inputs: room,
      run: async (context) => {
        await using disk = await new ImageDisk(image, [], context).makeWithRoom(room);
        await publishDisk(context, disk, {});
      },
    };
    const { signal } = new AbortController();
    const { build } = await runLayer(phase, undefined, { store, force: false, signal, emit: () => {} });
    await using rootfs = await openRootfs(store, build.id);
    const { usedBytes, freeBytes } = await rootfs.stats();
    expect(usedBytes).toBeGreaterThan(96 * MIB);
    expect(freeBytes).toBeGreaterThanOrEqual(room);
  }
});

test('A layer that does not have its digest is CORRUPT', async () => {
  const { store, reference, folder } = await makeStore();
  await using _ = store;
  const image = await openImage(reference);
  const [layer] = image.layers;
  const content = await readFile(layer?.path ?? '');
  content.writeUInt8(content.readUInt8(content.length >> 1) ^ 1, content.length >> 1);
  await writeFile(layer?.path ?? '', content);
  const failure = await buildBase({ store, reference, disk: { size: 64 * MIB } }).catch((error) => error);
  expect(failure).toMatchObject({ code: 'CORRUPT' });
  expect(failure.context.path.startsWith(folder)).toBe(true);
  expect(await stateOf(store)).toEqual(EMPTY);
});

test('Paths of a layer that lead out of the image land inside it', async () => {
  const { store, reference, folder } = await makeStore();
  await using _ = store;
  await addLayer(
    folder,
    `echo escaped >file && ln -s "${folder}" link &&
     tar -cPf "$1" --transform 's,^file$,../../../../escaped,;s,^link$,srv/out,' file link &&
     tar -rPf "$1" --transform 's,^file$,srv/out/through-the-link,' file`,
  );
  const { build } = await buildBase({ store, reference, disk: { size: 64 * MIB } });
  await using rootfs = await openRootfs(store, build.id);
  await using tree = await rootfs.openTree();
  expect((await tree.readFile('/escaped')).toString()).toBe('escaped\n');
  await expect(readFile(path.join(folder, 'through-the-link'))).rejects.toMatchObject({ code: 'ENOENT' });
  await expect(readFile(path.join(folder, '..', 'escaped'))).rejects.toMatchObject({ code: 'ENOENT' });
});

test('An image of a distribution that cannot be provisioned is refused before anything boots', async () => {
  const { store, reference, folder } = await makeStore({ distribution: 'gentoo' });
  await using _ = store;
  const failure = await buildBase({ store, reference, disk: { size: 64 * MIB } }).catch((error) => error);
  expect(failure).toMatchObject({ code: 'UNSUPPORTED_DISTRIBUTION' });
  expect(failure.message).toContain('gentoo');
  await addLayer(folder, 'mkdir etc && touch etc/.wh.os-release && tar -cf "$1" etc');
  const without = await buildBase({ store, reference, disk: { size: 64 * MIB } }).catch((error) => error);
  expect(without).toMatchObject({ code: 'UNSUPPORTED_DISTRIBUTION' });
  expect(await stateOf(store)).toEqual(EMPTY);
});

test('A derivative of a known distribution is built, with a warning', async () => {
  const { store, reference, folder } = await makeStore();
  await using _ = store;
  await addLayer(
    folder,
    'mkdir -p etc usr/lib && printf "ID=raspbian\\nID_LIKE=debian\\n" >usr/lib/os-release && ln -s ../usr/lib/os-release etc/ && tar -cf "$1" etc usr',
  );
  const lines: string[] = [];
  const emit = (event: BuildEvent) => event.type === 'log' && lines.push(event.line);
  await buildBase({ store, reference, disk: { size: 64 * MIB }, emit });
  expect(lines).toEqual([expect.stringMatching(/raspbian/)]);
});

test('A base build aborted at any of its steps rejects with the reason, and leaves nothing', async () => {
  const { store, reference } = await makeStore({ bulkBytes: 8 * MIB });
  await using _ = store;
  const steps: string[] = [];
  const build = (emit: (event: BuildEvent) => void, signal = new AbortController().signal) =>
    buildBase({ store, reference, disk: { size: 64 * MIB }, force: true, emit, signal });
  await store.remove(
    (await build((event) => event.type === 'step' && event.done === 0 && steps.push(event.step))).build.id,
  );
  expect(steps).toEqual([
    'verify layers',
    'make filesystem',
    'apply layer 1 of 1',
    'write provisioning files',
    'seal disk',
    'publish',
  ]);
  for (const step of steps) {
    const controller = new AbortController();
    const reason = new Error(`stopped at ${step}`);
    const emit = (event: BuildEvent) => {
      if (event.type === 'step' && event.step === step) controller.abort(reason);
    };
    await expect(build(emit, controller.signal)).rejects.toBe(reason);
    const { builds, temporary } = await stateOf(store);
    expect({ builds, temporary }, step).toEqual({ builds: [], temporary: [] });
  }
});

test('A host that runs full is NO_SPACE wherever it happens, and nothing is left', async () => {
  const folder = await makeScratch();
  const { reference } = await makeSmallImage(folder, { bulkBytes: 30 * MIB });
  const cases = [
    { size: 24, step: 'never', lastStep: 'apply layer 1 of 1' },
    { size: 48, step: 'never', lastStep: 'seal disk' },
    { size: 96, step: 'publish', lastStep: 'publish' },
    { size: 96, step: 'make filesystem', lastStep: 'make filesystem' },
  ];
  for (const { size, step, lastStep } of cases) {
    const point = path.join(folder, 'full');
    const script = `mkdir -p '${point}' && mount -t tmpfs -o size=${size}m tmpfs '${point}' && exec "$@"`;
    const program = [process.execPath, '--import', 'tsx', fullHost, point, reference, step];
    const { stdout } = await execa('unshare', [
      '--map-root-user',
      '--mount',
      'sh',
      '-c',
      script,
      'sh',
      ...program,
    ]);
    expect(JSON.parse(stdout), `${size} MiB, ${step}`).toMatchObject({
      code: 'NO_SPACE',
      errno: 28,
      lastStep,
      state: EMPTY,
    });
  }
}, 120_000);

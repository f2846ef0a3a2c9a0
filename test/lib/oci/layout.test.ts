import { readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openImage } from '../../../lib/oci/image.js';
import { formatPlatform, hostPlatform } from '../../../lib/oci/platform.js';
import { makeScratch } from '../../helpers/temporary.js';
import { makeUmociLayout, onPlatform, readJson, run, TestLayout, TYPES, tagged } from './layouts.js';

const here = formatPlatform(hostPlatform());
const elsewhere = 'linux/s390x';

test('openImage reads a layout that umoci made', async () => {
  const path = await makeUmociLayout();
  const { manifests } = await readJson(join(path, 'index.json'));
  const steps: string[] = [];
  await using image = await openImage(`oci:${path}:latest`, { onProgress: ({ step }) => steps.push(step) });
  expect(image.manifestDigest).toBe(manifests[0].digest);
  expect(image.platform).toMatchObject(hostPlatform());
  expect(image.config.config?.Env).toContain('A=b');
  expect(image.config.config?.Cmd).toEqual(['/bin/sh']);
  expect(image.layers.map(({ compression }) => compression)).toEqual(['gzip', 'gzip']);
  expect(image.layers.map(({ diffId }) => diffId)).toEqual(image.config.rootfs.diff_ids);
  for (const { path, size } of image.layers) expect((await readFile(path)).length).toBe(size);
  expect(new Set(steps)).toEqual(new Set(['verify']));
  const again = await openImage(path);
  expect(again.manifestDigest).toBe(image.manifestDigest);
});

test('openImage reads zstd layers and sha512 digests', async () => {
  const layout = await TestLayout.create();
  const folder = await makeScratch();
  await writeFile(join(folder, 'file'), 'content');
  await run('tar', ['--zstd', '-cf', 'layer.tar.zst', 'file'], folder);
  const layer = await layout.add(
    `${TYPES.layer}+zstd`,
    await readFile(join(folder, 'layer.tar.zst')),
    'sha512',
  );
  const rootfs = { type: 'layers', diff_ids: [layer.digest] };
  const config = await layout.add(
    TYPES.config,
    { os: 'linux', architecture: here.split('/')[1], rootfs },
    'sha512',
  );
  const manifest = await layout.add(TYPES.manifest, { schemaVersion: 2, config, layers: [layer] }, 'sha512');
  await layout.writeIndex([manifest]);
  await using image = await openImage(layout.path);
  expect(image.manifestDigest).toBe(manifest.digest);
  expect(image.layers).toMatchObject([{ compression: 'zstd', digest: layer.digest, size: layer.size }]);
});

test('openImage reads Docker schema 2 types', async () => {
  const layout = await TestLayout.create();
  const layer = await layout.add('application/vnd.docker.image.rootfs.diff.tar.gzip', Buffer.from('x'));
  const config = await layout.add('application/vnd.docker.container.image.v1+json', {
    os: 'linux',
    architecture: here.split('/')[1],
    config: { Env: null, Cmd: null, Labels: null },
    rootfs: { type: 'layers', diff_ids: [layer.digest] },
  });
  const type = 'application/vnd.docker.distribution.manifest.v2+json';
  const manifest = await layout.add(type, { schemaVersion: 2, mediaType: type, config, layers: [layer] });
  const list = 'application/vnd.docker.distribution.manifest.list.v2+json';
  await layout.writeIndex([
    await layout.add(list, { schemaVersion: 2, manifests: [onPlatform(manifest, here)] }),
  ]);
  await using image = await openImage(layout.path);
  expect(image.layers).toMatchObject([{ compression: 'gzip' }]);
});

test('openImage chooses the platform in nested indexes, and says which there are', async () => {
  const layout = await TestLayout.create();
  const [mine, other] = [await layout.addImage(here), await layout.addImage(elsewhere)];
  const attestation = {
    ...(await layout.addImage('unknown/unknown')),
    platform: { os: 'unknown', architecture: 'unknown' },
    annotations: { 'vnd.docker.reference.type': 'attestation-manifest' },
  };
  const inner = await layout.addIndex([onPlatform(other, elsewhere), onPlatform(mine, here), attestation]);
  await layout.writeIndex([tagged(await layout.addIndex([inner]), 'multi')]);
  await using image = await openImage(`oci:${layout.path}`);
  expect(image.manifestDigest).toBe(mine.digest);
  await using foreign = await openImage(`oci:${layout.path}:multi`, { platform: elsewhere });
  expect(foreign.manifestDigest).toBe(other.digest);
  const missing = openImage(layout.path, { platform: 'linux/riscv64' });
  await expect(missing).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await expect(missing).rejects.toThrow(`the image is for ${elsewhere}, ${here}, wanted linux/riscv64`);
  await using byDigest = await openImage(`oci:${layout.path}@${mine.digest}`);
  expect(byDigest.manifestDigest).toBe(mine.digest);
});

test('openImage looks into the configuration when a descriptor does not say its platform', async () => {
  const layout = await TestLayout.create();
  const mine = await layout.addImage(here);
  await layout.writeIndex([await layout.addImage(elsewhere), mine]);
  await using image = await openImage(layout.path);
  expect(image.manifestDigest).toBe(mine.digest);
});

test('openImage takes no guess between several images', async () => {
  const layout = await TestLayout.create();
  const [one, two] = [await layout.addImage(here), await layout.addImage(elsewhere)];
  await layout.writeIndex([tagged(one, 'one'), tagged(two, 'two')]);
  const ambiguous = openImage(layout.path);
  await expect(ambiguous).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  await expect(ambiguous).rejects.toThrow(':one, :two');
  const missing = openImage(`oci:${layout.path}:three`);
  await expect(missing).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await expect(missing).rejects.toThrow('one, two');
  await using image = await openImage(`oci:${layout.path}:one`);
  expect(image.manifestDigest).toBe(one.digest);
  await layout.writeIndex([tagged(one, 'one'), tagged(one, 'same')]);
  await using same = await openImage(layout.path);
  expect(same.manifestDigest).toBe(one.digest);
  const twin = await layout.addImage(here, { layerType: `${TYPES.layer}+gzip` });
  await layout.writeIndex([one, twin]);
  await expect(openImage(layout.path)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
});

test('openImage names a tampered blob with its expected and actual digest', async () => {
  const path = await makeUmociLayout();
  const before = await openImage(path);
  const layer = before.layers[1];
  if (layer === undefined) throw new Error('no second layer');
  const bytes = await readFile(layer.path);
  bytes[20] = (bytes[20] ?? 0) ^ 1;
  await writeFile(layer.path, bytes);
  const opened = openImage(path);
  await expect(opened).rejects.toMatchObject({ code: 'CORRUPT', context: { path: layer.path } });
  await expect(opened).rejects.toThrow(/content has the digest sha256:[0-9a-f]{64}, wanted sha256:/);
  await using later = await openImage(path, { layers: 'later' });
  await expect(later.verifyLayers()).rejects.toMatchObject({ code: 'CORRUPT' });
});

test.each(['manifest', 'configuration', 'layer'])(
  'openImage finds a truncated, missing or tampered %s',
  async (which) => {
    const layout = await TestLayout.create();
    const manifest = await layout.addImage(here);
    await layout.writeIndex([manifest]);
    const { config, layers } = await readJson(layout.blobPath(manifest.digest));
    const digest = { manifest: manifest.digest, configuration: config.digest, layer: layers[0].digest }[
      which
    ] as string;
    const path = layout.blobPath(digest);
    const bytes = await readFile(path);
    const corrupt = { code: 'CORRUPT', context: { path } };
    await writeFile(path, Buffer.from(bytes).fill('y', 3, 4));
    await expect(openImage(layout.path)).rejects.toMatchObject(corrupt);
    await truncate(path, bytes.length - 1);
    await expect(openImage(layout.path)).rejects.toMatchObject(corrupt);
    await expect(openImage(layout.path)).rejects.toThrow(
      `${bytes.length - 1} bytes long, wanted ${bytes.length}`,
    );
    await rm(path);
    await expect(openImage(layout.path)).rejects.toMatchObject(corrupt);
  },
);

test.each([
  ['application/vnd.oci.image.layer.nondistributable.v1.tar+gzip', 'may not be distributed'],
  ['application/vnd.docker.image.rootfs.foreign.diff.tar.gzip', 'may not be distributed'],
  ['application/vnd.oci.image.layer.v1.tar+gzip+encrypted', 'is encrypted'],
  ['application/x-unheard-of', 'is not known'],
])('openImage does not support layers of type %s', async (layerType, reason) => {
  const layout = await TestLayout.create();
  await layout.writeIndex([await layout.addImage(here, { layerType })]);
  await expect(openImage(layout.path)).rejects.toMatchObject({ code: 'UNSUPPORTED' });
  await expect(openImage(layout.path)).rejects.toThrow(reason);
});

test('openImage refuses artifacts, other algorithms, other versions, and what is no layout', async () => {
  const layout = await TestLayout.create();
  await layout.writeIndex([await layout.addImage(here, { configType: 'application/vnd.oci.empty.v1+json' })]);
  await expect(openImage(layout.path)).rejects.toMatchObject({ code: 'UNSUPPORTED' });
  const odd = { mediaType: TYPES.manifest, digest: 'blake3:00', size: 2 };
  await layout.writeIndex([odd]);
  await expect(openImage(layout.path)).rejects.toMatchObject({ code: 'UNSUPPORTED' });
  for (const digest of ['sha256:00', 'sha256:../../../../etc/passwd', `sha256:${'Z'.repeat(64)}`]) {
    await layout.writeIndex([{ ...odd, digest }]);
    await expect(openImage(layout.path)).rejects.toMatchObject({ code: 'CORRUPT' });
  }
  await writeFile(join(layout.path, 'index.json'), '{"schemaVersion":2');
  await expect(openImage(layout.path)).rejects.toMatchObject({ code: 'CORRUPT' });
  await writeFile(join(layout.path, 'oci-layout'), '{"imageLayoutVersion":"2.0.0"}');
  await expect(openImage(layout.path)).rejects.toMatchObject({ code: 'UNSUPPORTED' });
  await expect(openImage(await makeScratch())).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await expect(openImage(join(layout.path, 'not'))).rejects.toMatchObject({ code: 'NOT_FOUND' });
});

test('openImage finds a configuration that does not match its manifest', async () => {
  const layout = await TestLayout.create();
  const layer = await layout.add(TYPES.layer, Buffer.from('x'));
  const rootfs = { type: 'layers', diff_ids: [] };
  const config = await layout.add(TYPES.config, { os: 'linux', architecture: here.split('/')[1], rootfs });
  await layout.writeIndex([await layout.add(TYPES.manifest, { schemaVersion: 2, config, layers: [layer] })]);
  await expect(openImage(layout.path)).rejects.toMatchObject({ code: 'CORRUPT' });
});

test('openImage stops with the reason of its signal', async () => {
  const path = await makeUmociLayout();
  await expect(openImage(path, { signal: AbortSignal.abort('no') })).rejects.toBe('no');
  const controller = new AbortController();
  const stopped = openImage(path, {
    signal: controller.signal,
    onProgress: () => controller.abort('enough'),
  });
  await expect(stopped).rejects.toBe('enough');
});

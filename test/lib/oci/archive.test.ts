import { mkdir, open, readdir, readFile, stat, symlink, truncate, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { openImage } from '../../../lib/oci/image.js';
import { formatPlatform, hostPlatform } from '../../../lib/oci/platform.js';
import { makeScratch } from '../../helpers/temporary.js';
import { makeUmociLayout, run, TestLayout, TYPES } from './layouts.js';

const here = formatPlatform(hostPlatform());

/** A layout and its archive, made by skopeo. */
async function makeArchive(): Promise<{ layout: string; archive: string }> {
  const layout = await makeUmociLayout();
  const archive = join(dirname(layout), 'image.tar');
  await run('skopeo', ['copy', `oci:${layout}:latest`, `oci-archive:${archive}:latest`], dirname(layout));
  return { layout, archive };
}

test('openImage unpacks an archive that skopeo made, and removes it on close', async () => {
  const { layout, archive } = await makeArchive();
  const stagingDir = await makeScratch();
  const steps: string[] = [];
  const image = await openImage(`oci-archive:${archive}:latest`, {
    stagingDir,
    onProgress: ({ step }) => steps.push(step),
  });
  const original = await openImage(layout);
  expect(image.layers.map(({ digest }) => digest)).toEqual(original.layers.map(({ digest }) => digest));
  expect(new Set(steps)).toEqual(new Set(['unpack', 'verify']));
  expect(await readdir(stagingDir)).toHaveLength(1);
  await image.close();
  await image.close();
  expect(await readdir(stagingDir)).toEqual([]);
});

test('openImage unpacks archives of tar, plain and with gzip, in any order and with other files in them', async () => {
  const layout = await TestLayout.create();
  const manifest = await layout.addImage(here);
  await layout.writeIndex([manifest]);
  await writeFile(join(layout.path, 'README'), 'more');
  await symlink('/etc/passwd', join(layout.path, 'link'));
  const stagingDir = await makeScratch();
  for (const [flags, names] of [
    ['-cf', ['.']],
    ['-czf', ['index.json', 'blobs', 'link', 'README', 'oci-layout', 'blobs']],
  ] as const) {
    const archive = join(dirname(layout.path), 'image.tar');
    await run('tar', [flags, archive, ...names], layout.path);
    await using image = await openImage(`oci-archive:${archive}`, { stagingDir });
    expect(image.manifestDigest).toBe(manifest.digest);
    const [folder = ''] = await readdir(stagingDir);
    expect((await readdir(join(stagingDir, folder))).sort()).toEqual(['blobs', 'index.json', 'oci-layout']);
  }
});

test('openImage never writes outside its folder, whatever the names and links in an archive', async () => {
  const scratch = await makeScratch();
  const tree = join(scratch, 'tree');
  await mkdir(tree);
  await writeFile(join(tree, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  await writeFile(join(tree, 'x'), 'escaped');
  const archive = join(scratch, 'image.tar');
  const rename = ['--absolute-names', '--transform', 's,^x,../../escaped,', '-cf', archive, 'x'];
  await run('tar', [...rename, 'oci-layout'], tree);
  const stagingDir = join(scratch, 'a', 'b');
  await mkdir(stagingDir, { recursive: true });
  await expect(openImage(`oci-archive:${archive}`, { stagingDir })).rejects.toMatchObject({
    code: 'NOT_FOUND',
  });
  expect(await readdir(stagingDir)).toEqual([]);
  expect((await readdir(scratch)).sort()).toEqual(['a', 'image.tar', 'tree']);

  await symlink('/etc/hostname', join(tree, 'index.json'));
  await run('tar', ['-cf', archive, 'oci-layout', 'index.json'], tree);
  const opened = openImage(`oci-archive:${archive}`, { stagingDir });
  await expect(opened).rejects.toMatchObject({ code: 'CORRUPT' });
  await expect(opened).rejects.toThrow('index.json is a SymbolicLink');
  expect(await readdir(stagingDir)).toEqual([]);
});

test('openImage refuses a truncated archive, something else, and a missing one', async () => {
  const { archive } = await makeArchive();
  const stagingDir = await makeScratch();
  const size = (await stat(archive)).size;
  for (const length of [size - 4096, 1000, 700, 512]) {
    await truncate(archive, length);
    const opened = openImage(`oci-archive:${archive}`, { stagingDir });
    await expect(opened).rejects.toMatchObject({ code: expect.stringMatching(/CORRUPT|NOT_FOUND/) });
  }
  await writeFile(archive, 'not a tar at all'.repeat(1000));
  await expect(openImage(`oci-archive:${archive}`, { stagingDir })).rejects.toMatchObject({
    code: 'CORRUPT',
  });
  await expect(openImage(`oci-archive:${archive}-not`, { stagingDir })).rejects.toMatchObject({
    code: 'NOT_FOUND',
  });
  await expect(openImage(`oci-archive:${archive}`)).rejects.toThrow(TypeError);
  expect(await readdir(stagingDir)).toEqual([]);
});

/** An archive whose second file says that it is `size` long, and ends soon after. */
async function makeHugeArchive(folder: string, name: string, size: string): Promise<string> {
  const tree = join(folder, `tree-${size}`);
  await mkdir(dirname(join(tree, name)), { recursive: true });
  await writeFile(join(tree, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  await run('truncate', ['-s', size, join(tree, name)], tree);
  const archive = join(folder, `${size}.tar`);
  await run('sh', ['-c', 'tar -cf - oci-layout "$1" | head -c 100000 > "$2"', 'sh', name, archive], tree);
  return archive;
}

const BLOB = `blobs/sha256/${'0'.repeat(64)}`;

test('openImage refuses an archive that holds far more than its size, before it unpacks that', async () => {
  const folder = await makeScratch();
  const stagingDir = await makeScratch();
  const huge = await makeHugeArchive(folder, BLOB, '2G');
  await expect(openImage(`oci-archive:${huge}`, { stagingDir })).rejects.toMatchObject({
    code: 'UNSUPPORTED',
    context: { path: huge },
  });
  const skipped = await makeHugeArchive(folder, 'other', '3G');
  await expect(openImage(`oci-archive:${skipped}`, { stagingDir })).rejects.toMatchObject({
    code: 'UNSUPPORTED',
  });
  const document = await makeHugeArchive(folder, 'index.json', '17M');
  const opened = openImage(`oci-archive:${document}`, { stagingDir });
  await expect(opened).rejects.toMatchObject({ code: 'UNSUPPORTED' });
  await expect(opened).rejects.toThrow('index.json');
  const { archive } = await makeArchive();
  const limited = openImage(`oci-archive:${archive}`, { stagingDir, maxUnpackedBytes: 2000 });
  await expect(limited).rejects.toMatchObject({ code: 'UNSUPPORTED' });
  expect(await readdir(stagingDir)).toEqual([]);
});

test('openImage refuses an archive of more than what is free, before it fills the disk', async () => {
  const stagingDir = await makeScratch();
  const huge = await makeHugeArchive(await makeScratch(), BLOB, '8T');
  const opened = openImage(`oci-archive:${huge}`, { stagingDir, maxUnpackedBytes: Number.POSITIVE_INFINITY });
  await expect(opened).rejects.toMatchObject({ code: 'NO_SPACE', context: { path: huge } });
  expect(await readdir(stagingDir)).toEqual([]);
});

test('openImage takes an archive of one well compressed layer', async () => {
  const layout = await TestLayout.create();
  const layer = await layout.add(TYPES.layer, Buffer.alloc(300 << 20));
  const [os, architecture] = here.split('/');
  const rootfs = { type: 'layers', diff_ids: [layer.digest] };
  const config = await layout.add(TYPES.config, { os, architecture, rootfs });
  const manifest = { schemaVersion: 2, mediaType: TYPES.manifest, config, layers: [layer] };
  await layout.writeIndex([await layout.add(TYPES.manifest, manifest)]);
  const archive = join(dirname(layout.path), 'image.tar.gz');
  await run('tar', ['-czf', archive, '.'], layout.path);
  await using image = await openImage(`oci-archive:${archive}`, { stagingDir: await makeScratch() });
  expect(image.layers[0]?.size).toBe(300 << 20);
});

test('openImage finds a tampered blob in an archive', async () => {
  const { layout, archive } = await makeArchive();
  const image = await openImage(layout);
  const needle = await readFile(image.layers[0]?.path ?? '');
  const offset = (await readFile(archive)).indexOf(needle);
  expect(offset).toBeGreaterThan(0);
  const file = await open(archive, 'r+');
  await file.write('!', offset + 30);
  await file.close();
  const stagingDir = await makeScratch();
  await expect(openImage(`oci-archive:${archive}`, { stagingDir })).rejects.toMatchObject({
    code: 'CORRUPT',
  });
  expect(await readdir(stagingDir)).toEqual([]);
});

test('openImage names an archive of docker save', async () => {
  const { layout } = await makeArchive();
  const scratch = await makeScratch();
  const archive = join(scratch, 'docker.tar');
  await run('skopeo', ['copy', `oci:${layout}:latest`, `docker-archive:${archive}:a/b:c`], scratch);
  const opened = openImage(`oci-archive:${archive}`, { stagingDir: scratch });
  await expect(opened).rejects.toMatchObject({ code: 'UNSUPPORTED' });
  expect(await readdir(scratch)).toEqual(['docker.tar']);
});

test('openImage of an archive stops when told to, and leaves nothing', async () => {
  const { archive } = await makeArchive();
  const stagingDir = await makeScratch();
  const controller = new AbortController();
  const stopped = openImage(`oci-archive:${archive}`, {
    stagingDir,
    signal: controller.signal,
    onProgress: () => controller.abort('enough'),
  });
  await expect(stopped).rejects.toBe('enough');
  expect(await readdir(stagingDir)).toEqual([]);
});

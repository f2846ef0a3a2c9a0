import { lstat, mkdir, readdir, readFile, readlink, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { createMemoryDevice, openFileDevice } from '../../../lib/native/device.js';
import { ext4 } from '../../../lib/native/ext4.js';
import { type Ext4Tree, openTree } from '../../../lib/native/ext4-tree.js';
import { copyOutTree } from '../../../lib/rootfs/copy-out.js';
import { makeScratch } from '../../helpers/temporary.js';

const MIB = 1024 ** 2;
const UUID = '3f0c5b1e-9a53-8c44-9d11-6a2b7c8d9e0f';
const OLD_NS = 1_000_000_000n * 1_000_000_000n;

async function withTree(body: (tree: Ext4Tree) => Promise<void>): Promise<void> {
  await using device = createMemoryDevice({ size: 32 * MIB });
  await ext4.mkfs(device, { uuid: UUID, hashSeed: UUID });
  await using tree = await openTree(device, { writable: true });
  await body(tree);
}

test('copyOutTree copies a folder with content, links and times, and tells what it left out', async () => {
  const target = path.join(await makeScratch(), 'copy');
  await withTree(async (tree) => {
    const times = { mtimeNs: OLD_NS, atimeNs: OLD_NS };
    await tree.mkdir('/d/empty', { recursive: true });
    await tree.writeFile('/d/file', 'content', times);
    await tree.symlink('file', '/d/link', times);
    await tree.link('/d/file', '/d/second');
    await tree.mknod('/d/fifo', { type: 'fifo' });
    await tree.utimes('/d/empty', times);
    await tree.utimes('/d', times);
    const report = await copyOutTree(tree, '/d', target);
    expect(report).toEqual({ files: 3, bytes: 14, skipped: ['/d/fifo'] });
  });
  expect((await readdir(target)).sort()).toEqual(['empty', 'file', 'link', 'second']);
  expect(await readFile(path.join(target, 'second'), 'utf8')).toBe('content');
  expect(await readlink(path.join(target, 'link'))).toBe('file');
  for (const name of ['', 'empty', 'file', 'link']) {
    expect((await lstat(path.join(target, name))).mtimeMs, name).toBe(1e12);
  }
});

test('copyOutTree copies a single file, a link and a whole image', async () => {
  const folder = await makeScratch();
  await withTree(async (tree) => {
    await tree.writeFile('/file', 'content');
    await tree.symlink('/etc/passwd', '/link');
    await copyOutTree(tree, '/file', path.join(folder, 'file'));
    await copyOutTree(tree, '/link', path.join(folder, 'link'));
    await copyOutTree(tree, '/', path.join(folder, 'all'));
  });
  expect(await readFile(path.join(folder, 'file'), 'utf8')).toBe('content');
  expect(await readlink(path.join(folder, 'link'))).toBe('/etc/passwd');
  expect((await readdir(path.join(folder, 'all'))).sort()).toEqual(['file', 'link', 'lost+found']);
});

test('copyOutTree refuses what is not there, a target that is, and names that the host cannot have', async () => {
  const folder = await makeScratch();
  await withTree(async (tree) => {
    await tree.mkdir('/d');
    await tree.writeFile(Buffer.concat([Buffer.from('/d/'), Buffer.of(0x66, 0xff)]), '');
    const copy = (source: string, name: string) =>
      copyOutTree(tree, source, path.join(folder, name)).catch((error) => error.code);
    expect(await copy('/nothing', 'a')).toBe('NOT_FOUND');
    expect(await copy('/d', 'b')).toBe('UNSUPPORTED');
    await mkdir(path.join(folder, 'c'));
    expect(await copy('/d', 'c')).toBe('IO');
  });
  expect(await readdir(path.join(folder, 'c'))).toEqual([]);
});

test('copyOutTree of a crafted image writes nothing outside of its target', async () => {
  const folder = await makeScratch();
  const outside = path.join(folder, 'outside');
  const tree = path.join(folder, 'tree');
  await mkdir(outside);
  await mkdir(path.join(tree, 'd'), { recursive: true });
  await symlink(outside, path.join(tree, 'd/link'));
  // What these names become in the image is what no kernel would ever put there.
  const crafted = { 'link-evil': 'link/evil', 'up-..-..-outside-evil': 'up/../../outside/evil' };
  for (const name of Object.keys(crafted)) await writeFile(path.join(tree, 'd', name), 'evil');
  for (const [plain, evil] of Object.entries(crafted)) {
    const image = path.join(folder, 'image');
    await execa('mke2fs', ['-q', '-F', '-t', 'ext4', '-O', '^metadata_csum', '-d', tree, image, '16M'], {
      env: { PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
    });
    const bytes = await readFile(image);
    const at = bytes.indexOf(plain);
    expect(at).toBeGreaterThan(0);
    bytes.write(evil, at);
    await writeFile(image, bytes);
    await using device = await openFileDevice(image);
    await using opened = await openTree(device);
    const target = path.join(folder, `copy-${plain.length}`);
    await expect(copyOutTree(opened, '/d', target)).rejects.toMatchObject({ code: 'CORRUPT' });
    expect(await readdir(outside)).toEqual([]);
  }
});

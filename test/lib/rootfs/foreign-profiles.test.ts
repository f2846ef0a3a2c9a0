/**
 * Filesystems that others made: each is grown, shrunk and made as small as it goes, and keeps every file with all that belongs to it;
 * or it is refused with the reason and stays as it was.
 */
import { createHash } from 'node:crypto';
import { copyFile, link, mkdir, open, rm, symlink, truncate, utimes, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { copyDeviceToFile, type Device, openFileDevice } from '../../../lib/native/device.js';
import { createLoggingDevice } from '../../../lib/native/device-doubles.js';
import { openTree } from '../../../lib/native/ext4-tree.js';
import { createOverlay, type OverlayDevice } from '../../../lib/native/overlay.js';
import { resizeDisk } from '../../../lib/rootfs/resize.js';
import { makeScratch } from '../../helpers/temporary.js';

const MIB = 1024 ** 2;
const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };

const COMMON = 'has_journal,extent,huge_file,flex_bg,dir_nlink,extra_isize';

/** What `-t ext4` means on these systems, spelt out so that it does not depend on the mke2fs of this one. */
const PROFILES: Record<string, string> = {
  'the mke2fs of this host': '-t ext4',
  'e2fsprogs 1.43 to 1.46, Debian 10 to 12, Ubuntu 22.04': `-t ext4 -O ${COMMON},metadata_csum,64bit,^orphan_file,^metadata_csum_seed`,
  'e2fsprogs from 1.47 on, Fedora, Alpine, Ubuntu 24.04': `-t ext4 -O ${COMMON},metadata_csum,64bit,orphan_file,metadata_csum_seed`,
  'e2fsprogs 1.42, CentOS 7, Ubuntu 16.04': `-t ext4 -O ${COMMON},uninit_bg,^metadata_csum,^64bit`,
  'ext3 of its time': '-t ext3 -I 128',
  'the reference': `-t ext4 -b 4096 -m 0 -i 4096 -O ^has_journal,^dir_index,^64bit,^dir_nlink,^metadata_csum,ext_attr,sparse_super,filetype,extent,flex_bg,large_file,huge_file,extra_isize`,
  '64bit off': '-t ext4 -O ^64bit',
  'no journal': '-t ext4 -O ^has_journal',
  'inline data': '-t ext4 -O inline_data',
  casefold: '-t ext4 -O casefold -E encoding=utf8',
  'orphan file': '-t ext4 -O orphan_file',
  'blocks of 1 KiB': '-t ext4 -b 1024',
  'blocks of 1 KiB, and all that is new': '-t ext4 -b 1024 -O orphan_file,inline_data,metadata_csum_seed',
  'blocks of 2 KiB': '-t ext4 -b 2048',
  'blocks of 2 KiB, 64bit off': '-t ext4 -b 2048 -O ^64bit,^metadata_csum',
  'no room reserved for descriptors': '-t ext4 -O ^resize_inode',
  'meta groups': '-t ext4 -O meta_bg,^resize_inode',
  'no flexible groups': '-t ext4 -O ^flex_bg',
  'two copies of the superblock': '-t ext4 -O sparse_super2',
  'root keeps a twentieth, an inode for 4 KiB': '-t ext4 -m 5 -i 4096',
  'attributes in inodes, large directories': '-t ext4 -O ea_inode,large_dir',
};

/** Ordinary files, holes, hard links, links, attributes, a large directory; the same bytes every time. */
async function makeContent(folder: string): Promise<void> {
  await mkdir(path.join(folder, 'many'), { recursive: true });
  await mkdir(path.join(folder, 'a', 'b', 'c'), { recursive: true });
  for (let index = 0; index < 700; index += 1) {
    const file = path.join(folder, 'many', `file ${index} with a name that fills its directory`);
    await writeFile(file, Buffer.alloc((index * 137) % 14_000, `content ${index} `));
  }
  await writeFile(path.join(folder, 'large'), Buffer.alloc(9 * MIB, 'large '));
  await link(path.join(folder, 'large'), path.join(folder, 'a', 'linked'));
  await symlink('a/b', path.join(folder, 'link'));
  await symlink(`${'long/'.repeat(30)}target`, path.join(folder, 'a', 'long link'));
  const sparse = path.join(folder, 'a', 'b', 'sparse');
  await writeFile(sparse, '');
  await truncate(sparse, 64 * MIB);
  const file = await open(sparse, 'r+');
  for (let island = 0; island < 40; island += 1) await file.write(`island ${island}`, island * 1_600_001);
  await file.close();
  for (const [name, value] of [
    ['user.short', 'value'],
    ['user.long', 'x'.repeat(900)],
  ] as const)
    await execa('setfattr', ['-n', name, '-v', value, path.join(folder, 'large')]);
  await utimes(path.join(folder, 'large'), 1_600_000_000.123, 1_600_000_001.456);
}

/** mke2fs takes smaller blocks for small disks, when nothing is said. */
async function makeImage(image: string, options: string, content: string): Promise<void> {
  const blocks = options.includes('-b ') ? [] : ['-b', '4096'];
  await execa('mke2fs', ['-q', '-F', ...options.split(' '), ...blocks, '-d', content, image, '160M'], {
    env,
  });
}

async function expectSound(disk: Device, folder: string): Promise<void> {
  const image = path.join(folder, 'checked');
  await copyDeviceToFile(disk, image);
  const { exitCode, stdout } = await execa('e2fsck', ['-fn', image], { env, reject: false });
  await rm(image);
  expect(exitCode, stdout).toBe(0);
}

/** Of every file: its name, its data with its holes, and all that is known of it besides. */
async function digestTree(disk: Device): Promise<string> {
  await using tree = await openTree(disk);
  const hash = createHash('sha256');
  let count = 0;
  for await (const file of tree.digest('/')) {
    count += 1;
    hash.update(JSON.stringify(file, (_, value) => (typeof value === 'bigint' ? `${value}` : value)));
  }
  expect(count).toBeGreaterThan(700);
  return hash.digest('hex');
}

async function openOver(image: string, folder: string): Promise<OverlayDevice> {
  await using base = await openFileDevice(image);
  return await createOverlay(base, { upperPath: path.join(folder, 'upper') });
}

test.for(Object.entries(PROFILES))(
  'resizeDisk keeps every file of %s',
  { timeout: 120_000 },
  async ([, options]) => {
    const folder = await makeScratch();
    await makeContent(path.join(folder, 'content'));
    const image = path.join(folder, 'image');
    await makeImage(image, options, path.join(folder, 'content'));
    await using disk = await openOver(image, folder);
    const before = await digestTree(disk);

    for (const size of [700 * MIB + 4096, 3 * 1024 * MIB, 161 * MIB - 4096, 130 * MIB]) {
      const report = await resizeDisk(disk, { size }, { scratchFolder: folder });
      expect(report.newSize).toBe(size);
      expect(disk.size).toBe(size);
      expect(report.filesystemSize).toBeLessThanOrEqual(size);
      expect(report.filesystemSize).toBeGreaterThan(size - 33 * MIB);
      await expectSound(disk, folder);
      expect(await digestTree(disk)).toBe(before);
    }

    const free = 300 * MIB + 12_345;
    const roomy = await resizeDisk(disk, { free }, { scratchFolder: folder });
    expect(roomy.free).toBeGreaterThanOrEqual(free);
    await expectSound(disk, folder);
    expect(await digestTree(disk)).toBe(before);

    const least = await resizeDisk(disk, 'minimum', { scratchFolder: folder });
    expect(least.newSize % 4096).toBe(0);
    expect(least.newSize).toBeLessThan(130 * MIB);
    expect(least.resultChecked).toBe(true);
    await expectSound(disk, folder);
    expect(await digestTree(disk)).toBe(before);
  },
);

test.for([
  ['bigalloc', '-t ext4 -O bigalloc', 'UNSUPPORTED', /bigalloc/],
  ['a journal of its own', '-O journal_dev', 'UNSUPPORTED', /unsupported feature/],
] as const)(
  'resizeDisk refuses %s with the reason, and writes nothing',
  async ([, options, code, reason]) => {
    const folder = await makeScratch();
    const image = path.join(folder, 'image');
    await execa('mke2fs', ['-q', '-F', ...options.split(' '), image, '160M'], { env });
    await copyFile(image, path.join(folder, 'before'));
    await using disk = await openOver(image, folder);
    for (const target of [{ size: 700 * MIB }, { size: 32 * MIB }, { free: 300 * MIB }, 'minimum'] as const) {
      const failure = await resizeDisk(disk, target, { scratchFolder: folder }).catch((error) => error);
      expect(failure).toMatchObject({ code });
      expect(failure.message).toMatch(reason);
      expect(disk.stats()).toMatchObject({ dataBlocks: 0 });
    }
    await execa('cmp', [image, path.join(folder, 'before')]);
  },
);

test('resizeDisk reads and writes nothing for the size that the disk has', async () => {
  const folder = await makeScratch();
  const image = path.join(folder, 'image');
  await execa('mke2fs', ['-q', '-t', 'ext4', image, '160M'], { env });
  await using base = await openFileDevice(image);
  await using logged = createLoggingDevice(base);
  await using disk = await createOverlay(logged, { upperPath: path.join(folder, 'upper') });
  const { io } = await resizeDisk(disk, { size: 160 * MIB });
  expect(io).toMatchObject({ writes: 0, zeroedBytes: 0 });
  expect(logged.counts().read.distinctBlocks).toBeLessThanOrEqual(2);
  expect(disk.stats().dataBlocks).toBe(0);
});

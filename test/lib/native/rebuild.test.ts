import { randomUUID } from 'node:crypto';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { constants } from 'node:os';
import path from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openChain, type SealReport, sealDevice, sealOverlay } from '../../../lib/native/chain.js';
import { copyDeviceToFile, type Device, openFileDevice } from '../../../lib/native/device.js';
import { createFaultyDevice } from '../../../lib/native/device-doubles.js';
import { openTree } from '../../../lib/native/ext4-tree.js';
import { compareTrees, type TreeDifference } from '../../../lib/native/ext4-tree-compare.js';
import { ISOLATIONS } from '../../../lib/native/isolation.js';
import { createOverlay } from '../../../lib/native/overlay.js';
import { rebuildDisk, rebuiltSize } from '../../../lib/native/rebuild.js';
import { digestFile } from '../../../lib/util/digest.js';
import {
  makeHardImage,
  VARIANTS,
  type Variant,
  writeHardContent,
  writeSparse,
} from '../../helpers/hard-image.js';
import { makeScratchFolder } from '../../helpers/temporary.js';
import { expectClean } from './tree-testing.js';

const MIB = 1024 ** 2;

let folder: string;
let content: string;

beforeAll(async () => {
  folder = await makeScratchFolder();
  content = path.join(folder, 'content');
  await writeHardContent(content);
}, 60_000);

afterAll(() => rm(folder, { recursive: true, force: true }));

let count = 0;
function newPath(kind: string): string {
  count += 1;
  return path.join(folder, `${kind}-${count}`);
}

async function findDifferences(a: Device, b: Device): Promise<TreeDifference[]> {
  await using first = await openTree(a);
  await using second = await openTree(b);
  const found: TreeDifference[] = [];
  const all = { atime: true, ctime: true, birthtime: true, generation: true };
  for await (const difference of compareTrees(first, second, all)) found.push(difference);
  return found;
}

/** Where blocks have another size, or content lay in an inode, holes do too. */
function withoutHoles(differences: TreeDifference[]): TreeDifference[] {
  return differences.filter(({ what }) => what.some((aspect) => aspect !== 'holes'));
}

async function exportAndCheck(device: Device): Promise<string> {
  const raw = newPath('raw');
  await copyDeviceToFile(device, raw);
  expectClean(raw);
  return raw;
}

async function debugfs(image: string, request: string): Promise<string> {
  const { stdout } = await execa('debugfs', ['-R', request, image]);
  return stdout;
}

interface SealedBuild {
  device: Device;
  header: Buffer;
  diffSha256: string | undefined;
  diffs: Record<string, { path: string }>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Seals by `seal`, and opens what was sealed together with the diffs below it. */
async function openSealed(
  diffs: SealedBuild['diffs'],
  seal: (request: { buildId: string; diffPath: string; headerPath: string }) => Promise<SealReport>,
  buildId: string = randomUUID(),
): Promise<SealedBuild> {
  const request = { buildId, diffPath: newPath('diff'), headerPath: newPath('header') };
  const { diffSha256 } = await seal(request);
  const header = await readFile(request.headerPath);
  const all = { ...diffs, [request.buildId]: { path: request.diffPath } };
  const device = await openChain({ header, diffs: all });
  return { device, header, diffSha256, diffs: all, [Symbol.asyncDispose]: () => device.close() };
}

async function sealImage(image: string): Promise<SealedBuild> {
  await using device = await openFileDevice(image);
  return await openSealed({}, (request) => sealDevice(device, { ...request, blockSize: 4096 }));
}

describe.each(VARIANTS)('An image with $name', (variant) => {
  const smallBlocks = variant.options.includes('1024') || variant.options.includes('2048');
  const isInline = variant.options.includes('inline_data');

  test('is rebuilt larger and smaller with every file, readable before and after it is sealed', async () => {
    const image = newPath('image');
    await makeHardImage(image, content, variant);
    await using source = await sealImage(image);
    for (const size of [700 * MIB, 96 * MIB]) {
      const { parentHeader, overlay, ...counts } = await rebuildDisk(source.device, {
        ...{ size, upperPath: newPath('upper'), parentHeader: source.header },
      });
      await using disk = overlay;
      const differences = await findDifferences(source.device, disk);
      expect(withoutHoles(differences)).toEqual([]);
      if (!smallBlocks && !isInline) expect(differences).toEqual([]);
      await exportAndCheck(disk);
      await using rebuilt = await openSealed(source.diffs, (request) =>
        sealOverlay(disk, { ...request, parentHeader }),
      );
      expect(rebuilt.device.size).toBe(size);
      expect(withoutHoles(await findDifferences(source.device, rebuilt.device))).toEqual([]);
      const raw = await exportAndCheck(rebuilt.device);
      if (variant.options[1] === 'ext4') expect(await debugfs(raw, 'ex prealloc')).toMatch(/Uninit/);
      // Without extents, preallocated blocks hold zeros, which nobody stores.
      if (!smallBlocks && variant.options[1] === 'ext4')
        expect(counts.sharedBytes).toBeGreaterThan(counts.contentBytes * 0.9);
    }
  }, 120_000);

  test('is copied into a build that needs no other, the same bytes in this process and isolated', async () => {
    const image = newPath('image');
    await makeHardImage(image, content, variant);
    await using device = await openFileDevice(image);
    const copies: SealedBuild[] = [];
    const buildId = randomUUID();
    for (const isolation of ISOLATIONS) {
      const request = { size: 300 * MIB, upperPath: newPath('upper') };
      const { overlay } = await rebuildDisk(device, request, { isolation });
      await using disk = overlay;
      await using copy = await openSealed({}, (request) => sealOverlay(disk, request), buildId);
      expect(withoutHoles(await findDifferences(device, copy.device))).toEqual([]);
      await exportAndCheck(copy.device);
      copies.push(copy);
    }
    const [here, isolated] = copies as [SealedBuild, SealedBuild];
    expect(here.diffSha256).toMatch(/^[0-9a-f]{64}$/);
    expect(isolated.diffSha256).toBe(here.diffSha256);
    expect(isolated.header.equals(here.header)).toBe(true);
  }, 120_000);
});

test('rebuildDisk keeps a file beyond 4 GiB with its holes', async () => {
  const files = newPath('files');
  await mkdir(files);
  const farBytes = 6 * 1024 ** 3;
  await writeSparse(path.join(files, 'far'), [
    [0, 'near'],
    [farBytes, 'far'],
  ]);
  const image = newPath('image');
  await execa('mke2fs', ['-q', '-t', 'ext4', '-b', '4096', '-d', files, image, '64M']);
  await using device = await openFileDevice(image);
  const { overlay } = await rebuildDisk(device, { size: 32 * MIB, upperPath: newPath('upper') });
  await using disk = overlay;
  await exportAndCheck(disk);
  await using tree = await openTree(disk);
  expect(await tree.stat('/far')).toMatchObject({ size: farBytes + 3, allocated: 8192 });
  expect((await tree.readFile('/far', { length: 8 })).toString('latin1')).toBe('near\0\0\0\0');
  expect((await tree.readFile('/far', { offset: farBytes - 1 })).toString('latin1')).toBe('\0far');
});

async function makeOne(options: readonly string[], script: string): Promise<string> {
  const image = newPath('image');
  await execa('mke2fs', ['-q', '-t', 'ext4', '-b', '4096', ...options, image, '64M']);
  await execa('debugfs', ['-w', '-f', '-', image], { input: script });
  return image;
}

test('rebuildDisk refuses what is encrypted or under fs-verity, by its path', async () => {
  const value = path.join(content, 'zeros');
  const cases = [
    { flag: 0x80800, options: ['-O', 'encrypt'], what: 'encrypted' },
    { flag: 0x180000, options: ['-O', 'verity'], what: 'verity' },
  ];
  for (const { flag, options, what } of cases) {
    const script = `mkdir a\nmkdir a/b\nwrite ${value} a/b/secret\nsif a/b/secret flags ${flag}\n`;
    await using device = await openFileDevice(await makeOne(options, script));
    const upperPath = newPath('upper');
    const failure = await rebuildDisk(device, { size: 64 * MIB, upperPath }).catch((error) => error);
    expect(failure).toMatchObject({ code: 'UNSUPPORTED', context: { path: '/a/b/secret' } });
    expect(failure.message).toContain(what);
    await expect(readFile(upperPath)).rejects.toMatchObject({ code: 'ENOENT' });
  }
});

test('rebuildDisk wants a replayed journal, and then keeps what is on the overlay alone', async () => {
  const image = newPath('image');
  const [variant] = VARIANTS as [Variant];
  await makeHardImage(image, content, variant);
  await using source = await sealImage(image);
  await using changed = await createOverlay(source.device, { upperPath: newPath('upper') });
  {
    await using tree = await openTree(changed, { writable: true });
    await tree.writeFile('/new', Buffer.alloc(100_000, 'new'));
    await tree.writeFile('/sizes/3000001', Buffer.alloc(2_000_000, 'other'), {});
  }
  const request = { size: 128 * MIB, upperPath: newPath('upper'), parentHeader: source.header };
  const { overlay, parentHeader } = await rebuildDisk(changed, request);
  await using disk = overlay;
  expect(changed.writable).toBe(false);
  await using rebuilt = await openSealed(source.diffs, (seal) =>
    sealOverlay(disk, { ...seal, parentHeader }),
  );
  expect(await findDifferences(changed, rebuilt.device)).toEqual([]);
  await exportAndCheck(rebuilt.device);

  await execa('debugfs', ['-w', '-R', 'feature needs_recovery', image]);
  await using dirty = await openFileDevice(image);
  await expect(rebuildDisk(dirty, { size: 128 * MIB, upperPath: newPath('upper') })).rejects.toMatchObject({
    code: 'UNSUPPORTED',
  });
});

test('rebuildDisk on a device that fails anywhere rejects with its failure', async () => {
  const image = newPath('image');
  const [variant] = VARIANTS as [Variant];
  await makeHardImage(image, content, variant);
  await using source = await openFileDevice(image);
  for (const skip of [0, 1, 2, 3, 5, 8, 13, 21, 34, 55]) {
    const faults = [{ operation: 'read', skip, errno: constants.errno.EIO } as const];
    await using faulty = createFaultyDevice(source, { faults });
    const upperPath = newPath('upper');
    const outcome = await rebuildDisk(faulty, { size: 96 * MIB, upperPath }).catch((error) => error);
    expect(outcome).toMatchObject({ code: 'IO', context: { errno: constants.errno.EIO } });
  }
});

test('rebuildDisk and rebuiltSize give in a process of their own what they give in this one', async () => {
  const image = newPath('image');
  const [variant] = VARIANTS as [Variant];
  await makeHardImage(image, content, variant);
  await using source = await sealImage(image);
  const found = await Promise.all(
    ISOLATIONS.map(async (isolation) => {
      const request = { size: 96 * MIB, upperPath: newPath('upper'), parentHeader: source.header };
      const { overlay, ...report } = await rebuildDisk(source.device, request, { isolation });
      await using disk = overlay;
      const raw = await digestFile(await exportAndCheck(disk));
      return { report, raw, least: await rebuiltSize(source.device, { free: 12_345 }, { isolation }) };
    }),
  );
  expect(found[0]).toEqual(found[1]);
});

test('rebuildDisk gives what rsync carries over, too', async () => {
  const image = newPath('image');
  await execa('mke2fs', ['-q', '-t', 'ext4', '-b', '4096', '-d', content, image, '128M']);
  const copied = newPath('copied');
  await execa('rsync', ['-aHAX', '--numeric-ids', '--sparse', `${content}/`, `${copied}/`]);
  const byRsync = newPath('image');
  await execa('mke2fs', ['-q', '-t', 'ext4', '-b', '4096', '-d', copied, byRsync, '128M']);
  await using source = await openFileDevice(image);
  await using peer = await openFileDevice(byRsync);
  const { overlay } = await rebuildDisk(source, { size: 96 * MIB, upperPath: newPath('upper') });
  await using disk = overlay;
  await using ours = await openTree(disk);
  await using theirs = await openTree(peer);
  const found: TreeDifference[] = [];
  for await (const difference of compareTrees(ours, theirs)) found.push(difference);
  // rsync makes its own holes, and mke2fs these two.
  const made = ['/', '/lost+found'];
  expect(withoutHoles(found).filter(({ path: name }) => !made.includes(name))).toEqual([]);
});

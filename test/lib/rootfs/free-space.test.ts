import path from 'node:path';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { copyDeviceToFile, createZeroDevice, openFileDevice } from '../../../lib/native/device.js';
import { ext4 } from '../../../lib/native/ext4.js';
import { openTree } from '../../../lib/native/ext4-tree.js';
import { createOverlay, type OverlayDevice } from '../../../lib/native/overlay.js';
import {
  LARGEST_DISK_BYTES,
  type ResizeTarget,
  SMALLEST_DISK_BYTES,
} from '../../../lib/rootfs/disk-request.js';
import { fitDisk, type ResizeReport, resizeDisk } from '../../../lib/rootfs/resize.js';
import { seededRandom } from '../../helpers/random.js';
import { makeScratch } from '../../helpers/temporary.js';

const MIB = 1024 ** 2;
const GIB = 1024 ** 3;
const UUID = '3f0c5b1e-9a53-8c44-9d11-6a2b7c8d9e0f';

/** A disk with our profile and so much content. */
async function makeDisk(folder: string, size: number, contentBytes: number): Promise<OverlayDevice> {
  await using base = createZeroDevice({ size });
  const disk = await createOverlay(base, { upperPath: path.join(folder, 'upper') });
  await ext4.mkfs(disk, { uuid: UUID, hashSeed: UUID, time: 1 });
  await using tree = await openTree(disk, { writable: true, isolation: 'none' });
  for (let written = 0; written < contentBytes; written += 4 * MIB) {
    const length = Math.min(4 * MIB, contentBytes - written);
    await tree.writeFile(`/file-${written}`, Buffer.alloc(length, 'content '));
  }
  return disk;
}

async function availableOn(disk: OverlayDevice): Promise<number> {
  return (await ext4.stats(disk)).availableBytes;
}

async function expectSound(disk: OverlayDevice, folder: string): Promise<void> {
  const image = path.join(folder, 'image');
  await copyDeviceToFile(disk, image);
  const { exitCode, stdout } = await execa('e2fsck', ['-fn', image], { reject: false });
  expect(exitCode, stdout).toBe(0);
}

test('resizeDisk with free changes nothing when that much is free, to the byte', async () => {
  const folder = await makeScratch();
  await using disk = await makeDisk(folder, 64 * MIB, 10 * MIB);
  const available = await availableOn(disk);
  for (const free of [0, 1, available - 1, available]) {
    const report = await resizeDisk(disk, { free });
    expect(report).toMatchObject({
      oldSize: 64 * MIB,
      newSize: 64 * MIB,
      free: available,
      io: { writes: 0 },
    });
  }
  const report = await resizeDisk(disk, { free: available + 1 });
  expect(report.newSize).toBeGreaterThan(64 * MIB);
  expect(report.newSize).toBeLessThanOrEqual(66 * MIB);
  expect(report.free).toBeGreaterThan(available);
});

test('fitDisk changes nothing when there is nothing to give back, and grows when there is too little', async () => {
  const folder = await makeScratch();
  await using disk = await makeDisk(folder, 256 * MIB, 10 * MIB);
  const available = await availableOn(disk);
  const fitted = (free: number, smallestDisk = SMALLEST_DISK_BYTES) => fitDisk(disk, { free, smallestDisk });
  expect(await fitted(available)).toMatchObject({ oldSize: 256 * MIB, newSize: 256 * MIB, free: available });
  expect(await fitted(0, 256 * MIB)).toMatchObject({ newSize: 256 * MIB });
  const grown = await fitted(available + 100 * MIB);
  expect(grown.free).toBeGreaterThanOrEqual(available + 100 * MIB);
  expect(grown.newSize).toBeLessThan(364 * MIB);
  await expectSound(disk, folder);
});

test('fitDisk gives back all that it can: not more than the content, and not below the smallest disk', async () => {
  const folder = await makeScratch();
  await using disk = await makeDisk(folder, 4 * GIB, 40 * MIB);
  const atLeast = await fitDisk(disk, { free: MIB, smallestDisk: GIB });
  expect(atLeast.newSize).toBe(GIB);
  const smallest = await fitDisk(disk, { free: 0, smallestDisk: SMALLEST_DISK_BYTES });
  expect(smallest.newSize).toBeGreaterThan(40 * MIB);
  expect(smallest.newSize).toBeLessThan(GIB / 2);
  await expectSound(disk, folder);
});

test(`fitDisk and resizeDisk leave at least what was asked for, and little more`, async () => {
  const random = seededRandom();
  const folder = await makeScratch();
  for (let round = 0; round < 12; round += 1) {
    const content = random.below(60) * MIB + random.below(MIB);
    await using disk = await makeDisk(folder, (256 + random.below(4096)) * MIB, content);
    for (let step = 0; step < 3; step += 1) {
      const free = 32 * MIB + random.below(3 * 1024) * MIB + random.below(MIB);
      const fitted = await fitDisk(disk, { free, smallestDisk: SMALLEST_DISK_BYTES });
      const what = `round ${round}, step ${step}: ${JSON.stringify({ content, free, fitted })}`;
      expect(fitted.free, what).toBe(await availableOn(disk));
      expect(fitted.free, what).toBeGreaterThanOrEqual(free);
      // The last groups take their copies of the group descriptors along: 4 MiB each, of which the estimate knows nothing.
      expect(fitted.free - free, what).toBeLessThan(32 * MIB + free / 64);
      expect(fitted.newSize, what).toBe(disk.size);
      const more = free + random.below(512 * MIB);
      const grown = await resizeDisk(disk, { free: more });
      expect(grown.free, what).toBeGreaterThanOrEqual(more);
      expect(grown.free - more, what).toBeLessThan(Math.max(32 * MIB + more / 64, fitted.free - more));
    }
    await expectSound(disk, folder);
  }
}, 120_000);

test('resizeDisk refuses free space that no disk can have', async () => {
  const folder = await makeScratch();
  await using disk = await makeDisk(folder, 64 * MIB, MIB);
  const failure = await resizeDisk(disk, { free: LARGEST_DISK_BYTES }).catch((error) => error);
  expect(failure).toMatchObject({ code: expect.stringMatching(/^(NO_SPACE|UNSUPPORTED|IO)$/) });
});

test('resizeDisk aborted rejects with the reason', async () => {
  const folder = await makeScratch();
  await using disk = await makeDisk(folder, 64 * MIB, MIB);
  const reason = new Error('no more');
  await expect(resizeDisk(disk, { free: GIB }, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
});

/** A source on which several sizes can be tried. */
async function tryResize(base: OverlayDevice, folder: string, target: ResizeTarget): Promise<ResizeReport> {
  await using disk = await createOverlay(base, { upperPath: path.join(folder, 'try') });
  return await resizeDisk(disk, target, { scratchFolder: folder });
}

test(`resizeDisk with free finds the smallest size: 4 KiB less are too few`, async () => {
  const random = seededRandom();
  const folder = await makeScratch();
  for (let round = 0; round < 10; round += 1) {
    await using disk = await makeDisk(folder, (64 + random.below(400)) * MIB, random.below(30) * MIB);
    await disk.freeze();
    const free = (await availableOn(disk)) + 1 + random.below(20 * 1024 ** 3);
    const { newSize, ...enough } = await tryResize(disk, folder, { free });
    const less = await tryResize(disk, folder, { size: newSize - 4096 });
    const what = `round ${round}: ${JSON.stringify({ free, newSize, enough: enough.free, less: less.free })}`;
    expect(enough.free, what).toBeGreaterThanOrEqual(free);
    expect(less.free, what).toBeLessThan(free);
  }
}, 120_000);

test('ext4.sizeForFree says what is free at every size, before it is tried', async () => {
  const folder = await makeScratch();
  await using disk = await makeDisk(folder, 100 * MIB, 20 * MIB);
  await disk.freeze();
  for (const size of [128 * MIB, 129 * MIB, 1024 * MIB, 2049 * MIB, 16_385 * MIB]) {
    const { free } = await tryResize(disk, folder, { size });
    const smallest = await ext4.sizeForFree(disk, { free, smallest: 0, largest: LARGEST_DISK_BYTES });
    expect(smallest).toBeLessThanOrEqual(size);
    expect((await tryResize(disk, folder, { size: smallest })).free).toBe(free);
  }
});

/** Every group holds the descriptors of all: from some size on, they outgrow what a group adds. With small groups, that is soon. */
const COPIES_EVERYWHERE = '-O ^sparse_super,^resize_inode,^flex_bg,^has_journal,^64bit -b 1024 -g 256 -m 5';

async function makeCopiesEverywhere(folder: string): Promise<OverlayDevice> {
  const image = path.join(folder, 'stock');
  await execa('mke2fs', [...`-q -t ext4 ${COPIES_EVERYWHERE}`.split(' '), image, '40M']);
  await using base = await openFileDevice(image);
  return createOverlay(base, { upperPath: path.join(folder, 'upper') });
}

/** The most that can be free at any size. */
async function mostFree(disk: OverlayDevice): Promise<number> {
  let [possible, impossible] = [0, LARGEST_DISK_BYTES / 1024];
  while (impossible - possible > 1) {
    const middle = Math.floor((possible + impossible) / 2);
    const size = ext4.sizeForFree(disk, { free: middle * 1024, smallest: 0, largest: LARGEST_DISK_BYTES });
    await size.then(
      () => {
        possible = middle;
      },
      (error) => {
        expect(error).toMatchObject({ code: 'NO_SPACE' });
        impossible = middle;
      },
    );
  }
  return possible * 1024;
}

test('resizeDisk with free finds the smallest size also where a larger one has less room', async () => {
  const folder = await makeScratch();
  await using disk = await makeCopiesEverywhere(folder);
  await disk.freeze();
  const most = await mostFree(disk);
  expect(most).toBeLessThan(GIB);
  for (const free of [(await availableOn(disk)) + 1, most]) {
    const { newSize, ...enough } = await tryResize(disk, folder, { free });
    expect(enough.free).toBeGreaterThanOrEqual(free);
    expect((await tryResize(disk, folder, { size: newSize - 4096 })).free).toBeLessThan(free);
  }
  expect((await tryResize(disk, folder, { size: 1.5 * GIB })).free).toBeLessThan(most);
  await expect(tryResize(disk, folder, { free: most + 1 })).rejects.toMatchObject({ code: 'NO_SPACE' });
}, 120_000);

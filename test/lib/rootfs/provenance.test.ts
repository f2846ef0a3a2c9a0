import path from 'node:path';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { openFileDevice } from '../../../lib/native/device.js';
import { createLoggingDevice } from '../../../lib/native/device-doubles.js';
import { ext4 } from '../../../lib/native/ext4.js';
import { describeProvenance, hasProvenance } from '../../../lib/rootfs/provenance.js';
import { makeScratch } from '../../helpers/temporary.js';

const GIB = 1024 ** 3;
const UUID = '3f0c5b1e-9a53-8c44-9d11-6a2b7c8d9e0f';
const header = Buffer.from('the bytes of a header');

async function makeDisk(): Promise<string> {
  const image = path.join(await makeScratch(), 'disk');
  await using disk = await openFileDevice(image, { writable: true, create: 64 * GIB });
  await ext4.mkfs(disk, { uuid: UUID, hashSeed: UUID, time: 1 });
  return image;
}

test('hasProvenance holds for the disk that was described, and reads one block of it, however large it is', async () => {
  await using disk = await openFileDevice(await makeDisk());
  const provenance = await describeProvenance(disk, header);
  await using logged = createLoggingDevice(disk);
  expect(await hasProvenance(logged, header, provenance)).toBe(true);
  expect(logged.counts().read).toMatchObject({ calls: 1, distinctBlocks: 1 });
});

test('hasProvenance fails without one, and with another header, which costs no read', async () => {
  await using disk = await openFileDevice(await makeDisk());
  const provenance = await describeProvenance(disk, header);
  await using logged = createLoggingDevice(disk);
  expect(await hasProvenance(logged, header, undefined)).toBe(false);
  expect(await hasProvenance(logged, Buffer.from('another'), provenance)).toBe(false);
  expect(logged.counts().read.calls).toBe(0);
});

test.for(['ssv state 2', 'ssv free_blocks_count 7', 'ssv mnt_count 9', 'feature needs_recovery'])(
  'hasProvenance fails after "%s"',
  async (command) => {
    const image = await makeDisk();
    await using before = await openFileDevice(image);
    const provenance = await describeProvenance(before, header);
    await execa('debugfs', ['-w', '-R', command, image]);
    await using after = await openFileDevice(image);
    expect(await hasProvenance(after, header, provenance)).toBe(false);
  },
);

test.for(['ssv state 2', 'feature needs_recovery', 'set_bg 3 free_blocks_count 5'])(
  'describeProvenance has none for a disk after "%s"',
  async (command) => {
    const image = await makeDisk();
    await execa('debugfs', ['-w', '-R', command, image]);
    await using disk = await openFileDevice(image);
    expect(await describeProvenance(disk, header)).toBeUndefined();
  },
);

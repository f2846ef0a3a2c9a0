import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createMemoryDevice, createZeroDevice, type Device } from '../../../lib/native/device.js';
import { createFaultyDevice, createLoggingDevice } from '../../../lib/native/device-doubles.js';
import { createOverlay } from '../../../lib/native/overlay.js';

const { EIO, EROFS, EEXIST } = os.constants.errno;
const BLOCK = 4096;
let folder: string;
let upperPath: string;

beforeEach(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'rootloom-overlay-'));
  upperPath = path.join(folder, 'upper');
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

async function makeBase(blocks: number): Promise<Device> {
  const base = createMemoryDevice({ size: blocks * BLOCK });
  await base.write(0, Buffer.alloc(blocks * BLOCK, 1));
  return base;
}

describe('createOverlay', () => {
  test('keeps the base as it is, outlives it, and leaves no file', async () => {
    const base = await makeBase(16);
    await using below = createFaultyDevice(base);
    await using overlay = await createOverlay(base, { upperPath });
    await base.close();
    expect(await readdir(folder)).toEqual([]);
    const data = randomBytes(5000);
    await overlay.write(6000, data);
    const expected = Buffer.alloc(16 * BLOCK, 1);
    data.copy(expected, 6000);
    expect((await overlay.read(0, overlay.size)).equals(expected)).toBe(true);
    expect((await below.read(0, below.size)).equals(Buffer.alloc(16 * BLOCK, 1))).toBe(true);
    expect(overlay.stats()).toEqual({ dataBlocks: 2, zeroBlocks: 0, frozen: false });
    expect(overlay.dirtyBytes()).toBe(2 * BLOCK);
  });

  test('reaches beyond its base with zeros', async () => {
    await using base = await makeBase(2);
    await using overlay = await createOverlay(base, { upperPath, size: 10 * BLOCK });
    expect(await overlay.read(BLOCK, 9 * BLOCK)).toEqual(
      Buffer.concat([Buffer.alloc(BLOCK, 1), Buffer.alloc(8 * BLOCK)]),
    );
  });

  test('rejects an upper that exists', async () => {
    await using base = createZeroDevice({ size: BLOCK });
    await writeFile(upperPath, '');
    await expect(createOverlay(base, { upperPath })).rejects.toMatchObject({
      code: 'IO',
      context: { errno: EEXIST },
    });
  });

  test('rejects a closed base with CLOSED', async () => {
    const base = createZeroDevice({ size: BLOCK });
    await base.close();
    await expect(createOverlay(base, { upperPath })).rejects.toMatchObject({ code: 'CLOSED' });
  });
});

describe('OverlayDevice', () => {
  test('stores zeros as a state', async () => {
    await using base = await makeBase(8);
    await using overlay = await createOverlay(base, { upperPath });
    await overlay.write(0, Buffer.alloc(3 * BLOCK));
    await overlay.trim(4 * BLOCK, 2 * BLOCK);
    expect(overlay.stats()).toMatchObject({ dataBlocks: 0, zeroBlocks: 5 });
    expect(await overlay.extents(0, overlay.size)).toEqual([
      { offset: 0, length: 3 * BLOCK, kind: 'zero' },
      { offset: 3 * BLOCK, length: BLOCK, kind: 'data' },
      { offset: 4 * BLOCK, length: 2 * BLOCK, kind: 'zero' },
      { offset: 6 * BLOCK, length: 2 * BLOCK, kind: 'data' },
    ]);
  });

  test('resize shows at once in size, and what comes back is zeros', async () => {
    await using base = await makeBase(8);
    await using overlay = await createOverlay(base, { upperPath });
    await overlay.resize(2 * BLOCK);
    expect(overlay.size).toBe(2 * BLOCK);
    await expect(overlay.read(2 * BLOCK, 1)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    await overlay.resize(20 * BLOCK);
    expect(overlay.size).toBe(20 * BLOCK);
    expect(await overlay.read(BLOCK, 3 * BLOCK)).toEqual(
      Buffer.concat([Buffer.alloc(BLOCK, 1), Buffer.alloc(2 * BLOCK)]),
    );
  });

  test('freeze ends all changes', async () => {
    await using base = await makeBase(8);
    await using overlay = await createOverlay(base, { upperPath });
    await overlay.write(0, Buffer.from('kept'));
    await overlay.freeze();
    expect(overlay.writable).toBe(false);
    expect(overlay.stats().frozen).toBe(true);
    await expect(overlay.write(0, Buffer.from('lost'))).rejects.toMatchObject({
      code: 'IO',
      context: { errno: EROFS },
    });
    await expect(overlay.resize(BLOCK)).rejects.toMatchObject({ context: { errno: EROFS } });
    expect((await overlay.read(0, 4)).toString()).toBe('kept');
  });

  test('freeze rejects once a write has failed', async () => {
    await using base = await makeBase(8);
    await using broken = createFaultyDevice(base, { faults: [{ operation: 'read', count: 1, errno: EIO }] });
    await using overlay = await createOverlay(broken, { upperPath });
    await expect(overlay.write(1, Buffer.from('x'))).rejects.toMatchObject({ code: 'IO' });
    await overlay.write(1, Buffer.from('x'));
    await expect(overlay.freeze()).rejects.toMatchObject({ code: 'IO', context: { errno: EIO } });
  });

  test('reads its base in as few calls as there are runs', async () => {
    await using base = await makeBase(64);
    await using logging = createLoggingDevice(base, { logCapacity: 4 });
    await using overlay = await createOverlay(logging, { upperPath });
    await overlay.write(32 * BLOCK, Buffer.alloc(BLOCK, 2));
    await overlay.read(0, overlay.size);
    expect(logging.counts().read).toEqual({ calls: 2, failures: 0, bytes: 63 * BLOCK, distinctBlocks: 63 });
    expect(logging.log()).toEqual([
      { operation: 'read', offset: 0, length: 32 * BLOCK, durable: false, errno: 0 },
      { operation: 'read', offset: 33 * BLOCK, length: 31 * BLOCK, durable: false, errno: 0 },
    ]);
    logging.reset();
    expect(logging.counts().read.calls).toBe(0);
  });
});

describe('FaultyDevice', () => {
  test('loses what was not flushed when it crashes', async () => {
    await using disk = createMemoryDevice({ size: 8 * BLOCK });
    await using faulty = createFaultyDevice(disk, { volatileCache: true });
    await faulty.write(0, Buffer.from('flushed'));
    await faulty.flush();
    await faulty.write(0, Buffer.from('lost...'));
    await faulty.write(BLOCK, Buffer.from('durable'), { durable: true });
    await faulty.crash();
    expect((await disk.read(0, 7)).toString()).toBe('flushed');
    expect((await disk.read(BLOCK, 7)).toString()).toBe('durable');
    await expect(faulty.read(0, 1)).rejects.toMatchObject({ code: 'IO', context: { errno: EIO } });
  });

  test('hits what its plan says until it is disarmed', async () => {
    await using disk = createMemoryDevice({ size: 8 * BLOCK });
    await using faulty = createFaultyDevice(disk);
    faulty.arm({ operation: 'write', offset: BLOCK, length: BLOCK, skip: 1, count: 1, errno: EIO });
    await faulty.write(BLOCK, Buffer.alloc(1));
    await expect(faulty.write(BLOCK, Buffer.alloc(1))).rejects.toMatchObject({ code: 'IO' });
    await faulty.write(BLOCK, Buffer.alloc(1));
    expect(faulty.hitCount()).toBe(1);
    faulty.arm({ errno: EIO });
    faulty.disarm();
    await faulty.write(BLOCK, Buffer.alloc(1));
    expect(() => faulty.arm({ operation: 'erase' as never })).toThrow(RangeError);
  });
});

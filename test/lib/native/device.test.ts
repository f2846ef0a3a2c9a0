import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { isRootloomError } from '../../../lib/errors.js';
import type { Progress } from '../../../lib/native/addon.js';
import {
  copyDeviceToFile,
  createMemoryDevice,
  createZeroDevice,
  type Device,
  openFileDevice,
} from '../../../lib/native/device.js';
import { createFaultyDevice } from '../../../lib/native/device-doubles.js';

const MIB = 1024 * 1024;
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'rootloom-device-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

const { EROFS, EINVAL, EIO, EEXIST } = os.constants.errno;

describe('Device', () => {
  test('reads back what was written, zeroed and trimmed', async () => {
    await using device = createMemoryDevice({ size: MIB });
    const data = randomBytes(10_000);
    await device.write(5000, data);
    expect(await device.read(4999, 10_002)).toEqual(Buffer.concat([Buffer.alloc(1), data, Buffer.alloc(1)]));
    await device.zero(6000, 10, { durable: true });
    expect(await device.read(6000, 10)).toEqual(Buffer.alloc(10));
    await device.trim(8192, 4096);
    expect(await device.read(8192, 4096)).toEqual(Buffer.alloc(4096));
    expect(await device.extents(0, device.size)).toEqual([
      { offset: 0, length: 4096, kind: 'hole' },
      { offset: 4096, length: 4096, kind: 'data' },
      { offset: 8192, length: 4096, kind: 'hole' },
      { offset: 12_288, length: 4096, kind: 'data' },
      { offset: 16_384, length: MIB - 16_384, kind: 'hole' },
    ]);
    expect(await device.extents(0, device.size, { maxCount: 1 })).toHaveLength(1);
    await device.flush();
  });

  test('copies the data of a write before it returns', async () => {
    await using device = createMemoryDevice({ size: 4096 });
    const data = Buffer.alloc(4096, 1);
    const written = device.write(0, data);
    data.fill(2);
    await written;
    expect(await device.read(0, 4096)).toEqual(Buffer.alloc(4096, 1));
  });

  test('describes itself', () => {
    const device = createZeroDevice({ size: 8192, blockSize: 512 });
    expect(device).toMatchObject({ name: 'zero device', size: 8192, blockSize: 512, writable: false });
  });

  test('rejects ranges beyond the end with INVALID_ARGUMENT, and changes of a read-only device with IO', async () => {
    await using device = createZeroDevice({ size: 8192 });
    await expect(device.read(8000, 1000)).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      context: { errno: EINVAL, offset: 8000 },
    });
    await expect(device.write(0, Buffer.alloc(1))).rejects.toMatchObject({
      code: 'IO',
      context: { errno: EROFS },
    });
  });

  test('rejects wrong arguments with TypeError and RangeError', async () => {
    await using device = createMemoryDevice({ size: 8192 });
    await expect(device.read(-1, 1)).rejects.toThrow(RangeError);
    await expect(device.read(0.5, 1)).rejects.toThrow(RangeError);
    await expect(device.read(0, 2 ** 52)).rejects.toThrow(RangeError);
    await expect(device.read('0' as never, 1)).rejects.toThrow(TypeError);
    await expect(device.write(0, 'text' as never)).rejects.toThrow(TypeError);
    await expect(device.write(0, new Float64Array(1) as never)).rejects.toThrow(TypeError);
    expect(() => createMemoryDevice({ size: 4096, blockSize: 1000 })).toThrow(/power of two/);
    expect(() => createMemoryDevice({ size: Number.NaN })).toThrow(RangeError);
  });

  test('runs many calls at once', async () => {
    await using device = createMemoryDevice({ size: MIB });
    const parts = Array.from({ length: 64 }, (_, index) => randomBytes(1000 + index));
    await Promise.all(parts.map((part, index) => device.write(index * 5000, part)));
    const read = await Promise.all(parts.map((part, index) => device.read(index * 5000, part.length)));
    expect(read).toEqual(parts);
  });
});

describe('Device.close', () => {
  // A device whose every read takes a while, and the device below.
  function makeSlow(delayMs: number): { inner: Device; slow: Device } {
    const inner = createMemoryDevice({ size: 64 * MIB });
    return { inner, slow: createFaultyDevice(inner, { faults: [{ operation: 'read', delayMs }] }) };
  }

  test('waits for running calls, refuses later ones, and is idempotent', async () => {
    const { inner, slow } = makeSlow(100);
    await using _ = inner;
    const order: string[] = [];
    const read = slow.read(0, 4096).then((bytes) => {
      order.push('read');
      return bytes;
    });
    const closed = slow.close().then(() => order.push('closed'));
    await expect(slow.read(0, 1)).rejects.toSatisfy((error) => isRootloomError(error, 'CLOSED'));
    expect(await read).toEqual(Buffer.alloc(4096));
    await closed;
    await slow.close();
    expect(order).toEqual(['read', 'closed']);
    await expect(slow.flush()).rejects.toMatchObject({ code: 'CLOSED' });
    expect(slow.size).toBe(64 * MIB);
  });

  test('of a device below leaves what is stacked on it usable', async () => {
    const inner = createMemoryDevice({ size: 4096 });
    await inner.write(0, Buffer.from('content'));
    await using outer = createFaultyDevice(inner);
    await inner.close();
    expect((await outer.read(0, 7)).toString()).toBe('content');
  });

  test('an aborted read rejects with the signal’s reason, and the device can be closed', async () => {
    const { inner, slow } = makeSlow(20);
    await using _ = inner;
    const abort = new AbortController();
    const read = slow.read(0, 64 * MIB, { signal: abort.signal });
    const reason = new Error('enough');
    setTimeout(() => abort.abort(reason), 30);
    await expect(read).rejects.toBe(reason);
    await expect(slow.read(0, 1, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    await slow.close();
  });

  test.each(['zero', 'trim'] as const)(
    'an aborted %s of a huge range ends between two pieces of it',
    async (change) => {
      await using inner = createMemoryDevice({ size: 1024 * 1024 * MIB });
      await using slow = createFaultyDevice(inner);
      slow.arm({ operation: change, delayMs: 20 });
      const reason = new Error('enough');
      const abort = new AbortController();
      setTimeout(() => abort.abort(reason), 50);
      await expect(slow[change](0, slow.size, { signal: abort.signal })).rejects.toBe(reason);
    },
  );

  test('a durable change of many pieces is durable, and one beyond the end changes nothing', async () => {
    await using inner = createMemoryDevice({ size: 130 * MIB });
    await using device = createFaultyDevice(inner, { volatileCache: true });
    const data = Buffer.alloc(9 * MIB, 7);
    await device.write(100, data, { durable: true });
    await expect(device.write(device.size - data.length + 1, data)).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
    });
    await expect(device.zero(1, device.size)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    await device.crash();
    expect((await inner.read(100, data.length)).equals(data)).toBe(true);
    expect(await inner.extents(16 * MIB, 114 * MIB)).toMatchObject([{ kind: 'hole' }]);
  });
});

describe('openFileDevice', () => {
  test('creates, reopens read-only, and refuses to create twice', async () => {
    const file = path.join(folder, 'disk.raw');
    {
      await using device = await openFileDevice(file, { create: MIB });
      expect(device.writable).toBe(true);
      await device.write(MIB - 3, Buffer.from('end'), { durable: true });
    }
    expect((await readFile(file)).subarray(-4).toString()).toBe('\0end');
    await using device = await openFileDevice(file);
    expect(device).toMatchObject({ name: file, size: MIB, writable: false });
    await expect(openFileDevice(file, { create: MIB })).rejects.toMatchObject({
      code: 'IO',
      context: { errno: EEXIST },
    });
  });

  test('rejects a missing file with NOT_FOUND and a folder with UNSUPPORTED', async () => {
    const missing = path.join(folder, 'missing');
    await expect(openFileDevice(missing)).rejects.toMatchObject({
      code: 'NOT_FOUND',
      context: { path: missing },
    });
    await expect(openFileDevice(folder)).rejects.toMatchObject({ code: 'UNSUPPORTED' });
  });
});

describe('copyDeviceToFile', () => {
  async function makeDisk(): Promise<Device> {
    const disk = createMemoryDevice({ size: 256 * MIB });
    await disk.write(0, randomBytes(10_000));
    await disk.write(200 * MIB, randomBytes(10_000));
    return disk;
  }

  test('writes a sparse image of equal content, and reports progress', async () => {
    await using disk = await makeDisk();
    const file = path.join(folder, 'disk.raw');
    const seen: Progress[] = [];
    const report = await copyDeviceToFile(disk, file, { onProgress: (progress) => seen.push(progress) });
    expect(report).toEqual({ size: 256 * MIB, dataBytes: 24_576 });
    expect(seen.at(-1)).toEqual({ step: 'export', done: 256 * MIB, total: 256 * MIB });
    const { size, blocks } = await stat(file);
    expect(size).toBe(256 * MIB);
    expect(blocks * 512).toBeLessThan(MIB);
    await using copy = await openFileDevice(file);
    for (const offset of [0, 200 * MIB]) {
      expect((await copy.read(offset, MIB)).equals(await disk.read(offset, MIB))).toBe(true);
    }
  });

  test('leaves the folder as it was when it is aborted or fails', async () => {
    await using disk = await makeDisk();
    const file = path.join(folder, 'disk.raw');
    await writeFile(file, 'earlier');
    await using slow = createFaultyDevice(disk, { faults: [{ operation: 'read', delayMs: 50 }] });
    const abort = new AbortController();
    const copying = copyDeviceToFile(slow, file, { signal: abort.signal });
    setTimeout(() => abort.abort(new Error('enough')), 20);
    await expect(copying).rejects.toThrow('enough');
    await using broken = createFaultyDevice(disk, { faults: [{ operation: 'read', skip: 1, errno: EIO }] });
    await expect(copyDeviceToFile(broken, file)).rejects.toMatchObject({
      code: 'IO',
      context: { errno: EIO },
    });
    expect(await readdir(folder)).toEqual(['disk.raw']);
    expect(await readFile(file, 'utf8')).toBe('earlier');
  });
});

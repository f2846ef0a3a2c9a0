import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openChain, sealOverlay } from '../../../lib/native/chain.js';
import { createMemoryDevice, createZeroDevice, type Device } from '../../../lib/native/device.js';
import { createFaultyDevice } from '../../../lib/native/device-doubles.js';
import { createOverlay, type OverlayCut, type OverlayDevice } from '../../../lib/native/overlay.js';

const BLOCK = 4096;
const SIZE = 64 * BLOCK;
let folder: string;
let diffs: Record<string, { path: string }>;

beforeEach(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'rootloom-cut-'));
  diffs = {};
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

async function makeOverlay(): Promise<OverlayDevice> {
  await using base = createZeroDevice({ size: SIZE });
  return await createOverlay(base, { upperPath: path.join(folder, 'upper') });
}

/** Seals as a child of `parentHeader`; resolves with the new build's header. */
async function seal(device: OverlayDevice | OverlayCut, parentHeader?: Uint8Array): Promise<Buffer> {
  const buildId = randomUUID();
  const diffPath = path.join(folder, buildId);
  const headerPath = `${diffPath}.header`;
  await sealOverlay(device, { buildId, diffPath, headerPath, parentHeader });
  diffs[buildId] = { path: diffPath };
  return await readFile(headerPath);
}

async function contentOf(device: Device): Promise<Buffer> {
  return await device.read(0, device.size);
}

describe('OverlayDevice.cut', () => {
  test('gives builds while the overlay is written on', async () => {
    await using overlay = await makeOverlay();
    await overlay.write(100, randomBytes(3 * BLOCK));
    const first = await contentOf(overlay);
    await using firstCut = await overlay.cut(path.join(folder, 'upper'));
    await overlay.write(2 * BLOCK, randomBytes(BLOCK));
    const second = await contentOf(overlay);
    await using secondCut = await overlay.cut(path.join(folder, 'upper'));
    await overlay.zero(0, 2 * BLOCK);
    const third = await contentOf(overlay);
    expect(await readdir(folder)).toEqual([]);
    expect(firstCut.writable).toBe(false);
    expect((await contentOf(firstCut)).equals(first)).toBe(true);
    expect((await contentOf(secondCut)).equals(second)).toBe(true);

    const headers = [await seal(firstCut)];
    headers.push(await seal(secondCut, headers[0]));
    headers.push(await seal(overlay, headers[1]));
    for (const [index, content] of [first, second, third].entries()) {
      await using chain = await openChain({ header: headers[index] as Buffer, diffs });
      expect((await contentOf(chain)).equals(content)).toBe(true);
    }
  });

  test('reads what it was settled on', async () => {
    await using overlay = await makeOverlay();
    await overlay.write(0, randomBytes(BLOCK));
    await using cut = await overlay.cut(path.join(folder, 'upper'));
    const content = await contentOf(overlay);
    {
      await using chain = await openChain({ header: await seal(cut), diffs });
      await cut.settle(chain);
    }
    expect((await contentOf(cut)).equals(content)).toBe(true);
    expect((await contentOf(overlay)).equals(content)).toBe(true);
    await expect(seal(cut)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    await using other = createZeroDevice({ size: SIZE });
    await expect(cut.settle(other)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  });

  test('rejects after a write that failed, and leaves the overlay as it was', async () => {
    await using memory = createMemoryDevice({ size: SIZE });
    await using faulty = createFaultyDevice(memory);
    await using overlay = await createOverlay(faulty, { upperPath: path.join(folder, 'upper') });
    faulty.arm({ operation: 'read', errno: os.constants.errno.ETIMEDOUT });
    await expect(overlay.write(1, Buffer.alloc(10, 1))).rejects.toMatchObject({ code: 'IO' });
    await expect(overlay.cut(path.join(folder, 'upper'))).rejects.toMatchObject({
      code: 'IO',
      context: { errno: os.constants.errno.ETIMEDOUT },
    });
    await overlay.write(BLOCK, Buffer.alloc(BLOCK, 7));
    expect((await overlay.read(BLOCK, BLOCK)).equals(Buffer.alloc(BLOCK, 7))).toBe(true);
  });

  test('rejects once the overlay is frozen, and when it is aborted before it begins', async () => {
    await using overlay = await makeOverlay();
    const reason = new Error('not now');
    const signal = AbortSignal.abort(reason);
    await expect(overlay.cut(path.join(folder, 'upper'), { signal })).rejects.toBe(reason);
    await overlay.freeze();
    await expect(overlay.cut(path.join(folder, 'upper'))).rejects.toMatchObject({
      code: 'IO',
      context: { errno: os.constants.errno.EROFS },
    });
  });
});

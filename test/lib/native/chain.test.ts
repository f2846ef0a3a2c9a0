import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  decodeHeader,
  openChain,
  type SealReport,
  sealDevice,
  sealOverlay,
} from '../../../lib/native/chain.js';
import {
  createMemoryDevice,
  createZeroDevice,
  type Device,
  openFileDevice,
} from '../../../lib/native/device.js';
import { createOverlay, type OverlayDevice } from '../../../lib/native/overlay.js';
import { seededRandom } from '../../helpers/random.js';
import { rootloomError } from './chain-errors.js';

const BLOCK = 4096;

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'rootloom-chain-'));
});
afterEach(() => rm(folder, { recursive: true }));

const buildId = (number: number) => `00000000-0000-4000-8000-${String(number).padStart(12, '0')}`;
const diffPath = (number: number) => path.join(folder, `${number}.diff`);
const headerPath = (number: number) => path.join(folder, `${number}.header`);
const target = (number: number) => ({
  buildId: buildId(number),
  diffPath: diffPath(number),
  headerPath: headerPath(number),
});

/** Opens build `number` from its files, with every diff up to it. */
async function open(number: number): Promise<Device> {
  const diffs = Object.fromEntries(
    Array.from({ length: number + 1 }, (_, index) => [buildId(index), { path: diffPath(index) }]),
  );
  return openChain({ header: await readFile(headerPath(number)), diffs });
}

/** Makes build `number` from the one before: `change` on an overlay, and a seal. */
async function build(
  number: number,
  change: (overlay: OverlayDevice) => Promise<void>,
  options: { size?: number; version?: number; digest?: boolean } = {},
): Promise<SealReport> {
  await using base = number === 0 ? createZeroDevice({ size: options.size ?? 0 }) : await open(number - 1);
  await using overlay = await createOverlay(base, { upperPath: path.join(folder, 'upper') });
  await change(overlay);
  const parentHeader = number === 0 ? undefined : await readFile(headerPath(number - 1));
  const { version, digest } = options;
  return sealOverlay(overlay, { ...target(number), parentHeader, version, digest });
}

async function contentOf(device: Device): Promise<Buffer> {
  return device.read(0, device.size);
}

test('a chain of 64 random builds reads as a byte array that got the same changes', async () => {
  const random = seededRandom();
  let model = Buffer.alloc(64 * BLOCK);
  for (let number = 0; number < 64; number += 1) {
    await build(
      number,
      async (overlay) => {
        if (number % 8 === 5) {
          const size = (32 + random.below(64)) * BLOCK;
          await overlay.resize(size);
          model = Buffer.concat([model.subarray(0, size), Buffer.alloc(Math.max(0, size - model.length))]);
        }
        for (let change = random.below(4); change >= 0; change -= 1) {
          const offset = random.below(model.length);
          const length = 1 + random.below(Math.min(20_000, model.length - offset));
          if (random.below(3) === 0) {
            await overlay.zero(offset, length);
            model.fill(0, offset, offset + length);
          } else {
            const data = Buffer.alloc(length, 1 + random.below(255));
            await overlay.write(offset, data);
            data.copy(model, offset);
          }
        }
      },
      { size: model.length, ...(number % 20 === 10 && { version: 3 + (number % 3) }) },
    );
    await using chain = await open(number);
    expect(chain.writable).toBe(false);
    expect((await contentOf(chain)).equals(model), `build ${number}`).toBe(true);
  }
  const header = decodeHeader(await readFile(headerPath(63)));
  expect(header.generation).toBe(63);
  expect(header.baseBuildId).toBe(buildId(0));
  expect(header.size).toBe(model.length);
});

test('sealOverlay stores what changed, once, and never zeros', async () => {
  const data = randomBytes(8 * BLOCK);
  const first = await build(0, (overlay) => overlay.write(0, data), { size: 16 * BLOCK });
  expect(first).toEqual({
    size: 16 * BLOCK,
    diffBytes: 8 * BLOCK,
    dataBlocks: 8,
    zeroBlocks: 8,
    droppedBlocks: 0,
    diffSha256: createHash('sha256').update(data).digest('hex'),
  });
  const second = await build(1, async (overlay) => {
    await overlay.write(0, data.subarray(0, 3 * BLOCK)); // The same again.
    await overlay.write(3 * BLOCK, randomBytes(BLOCK));
    await overlay.zero(4 * BLOCK, 2 * BLOCK);
    await overlay.resize(32 * BLOCK);
  });
  expect(second).toMatchObject({ size: 32 * BLOCK, diffBytes: BLOCK, dataBlocks: 1, droppedBlocks: 3 });
  expect((await stat(diffPath(1))).size).toBe(BLOCK);
  expect(second.diffSha256).toBeUndefined();
  const third = await build(2, (overlay) => overlay.write(BLOCK, randomBytes(2 * BLOCK)), { digest: true });
  expect(third.diffSha256).toBe(
    createHash('sha256')
      .update(await readFile(diffPath(2)))
      .digest('hex'),
  );
  await using chain = await open(1);
  expect(await chain.extents(0, chain.size)).toEqual([
    { offset: 0, length: 4 * BLOCK, kind: 'data' },
    { offset: 4 * BLOCK, length: 2 * BLOCK, kind: 'zero' },
    { offset: 6 * BLOCK, length: 2 * BLOCK, kind: 'data' },
    { offset: 8 * BLOCK, length: 24 * BLOCK, kind: 'zero' },
  ]);
});

test('sealOverlay cuts what a shrink cut, and a later growth does not bring it back', async () => {
  const data = randomBytes(16 * BLOCK);
  await build(0, (overlay) => overlay.write(0, data), { size: data.length });
  await build(1, (overlay) => overlay.resize(4 * BLOCK));
  await build(2, (overlay) => overlay.resize(16 * BLOCK));
  await using chain = await open(2);
  const wanted = Buffer.concat([data.subarray(0, 4 * BLOCK), Buffer.alloc(12 * BLOCK)]);
  expect((await contentOf(chain)).equals(wanted)).toBe(true);
});

test('sealOverlay ends the overlay for writers', async () => {
  await using base = createZeroDevice({ size: 4 * BLOCK });
  await using overlay = await createOverlay(base, { upperPath: path.join(folder, 'upper') });
  await sealOverlay(overlay, target(0));
  expect(overlay.writable).toBe(false);
  await expect(overlay.write(0, Buffer.alloc(1))).rejects.toThrow(rootloomError('IO'));
});

test('sealOverlay leaves no file when it is aborted, and can be called again', async () => {
  await using base = createZeroDevice({ size: 64 << 20 });
  await using overlay = await createOverlay(base, { upperPath: path.join(folder, 'upper') });
  await overlay.write(0, randomBytes(64 << 20));
  const controller = new AbortController();
  const reason = new Error('enough');
  const seal = sealOverlay(overlay, target(0), {
    signal: controller.signal,
    onProgress: () => controller.abort(reason),
  });
  await expect(seal).rejects.toBe(reason);
  expect(await readdir(folder)).toEqual([]);
  expect((await sealOverlay(overlay, target(0))).diffBytes).toBe(64 << 20);
});

test('sealOverlay refuses what does not belong together', async () => {
  await build(0, (overlay) => overlay.write(0, randomBytes(BLOCK)), { size: 4 * BLOCK });
  await using memory = createMemoryDevice({ size: 8 * BLOCK });
  await using overlay = await createOverlay(memory, { upperPath: path.join(folder, 'upper') });
  const parentHeader = await readFile(headerPath(0));
  await expect(sealOverlay(overlay, { ...target(1), parentHeader })).rejects.toThrow(
    rootloomError('INVALID_ARGUMENT'),
  );
  await expect(
    sealOverlay(overlay, { ...target(1), parentHeader: parentHeader.subarray(1) }),
  ).rejects.toThrow(rootloomError());
  await expect(sealOverlay(overlay, { ...target(1), version: 2 })).rejects.toThrow(
    rootloomError('INVALID_ARGUMENT'),
  );
  await expect(sealOverlay(overlay, { ...target(1), buildId: 'mine' })).rejects.toThrow(RangeError);
  await expect(sealOverlay(overlay, { ...target(1), diffPath: diffPath(0) })).rejects.toThrow(
    rootloomError('IO'),
  );
  await expect(sealOverlay(memory as OverlayDevice, target(1))).rejects.toThrow(TypeError);
  expect((await readdir(folder)).sort()).toEqual(['0.diff', '0.header']);
});

test('openChain names the build whose diff is missing', async () => {
  await build(0, (overlay) => overlay.write(0, randomBytes(BLOCK)), { size: 4 * BLOCK });
  await expect(openChain({ header: await readFile(headerPath(0)), diffs: {} })).rejects.toThrow(
    rootloomError('NOT_FOUND', buildId(0)),
  );
  await rm(diffPath(0));
  await using chain = await open(0);
  expect(await chain.read(BLOCK, BLOCK)).toEqual(Buffer.alloc(BLOCK));
  await expect(chain.read(0, 1)).rejects.toThrow(rootloomError('NOT_FOUND', buildId(0)));
});

test('a read of a truncated diff says where it ends', async () => {
  await build(0, (overlay) => overlay.write(0, randomBytes(4 * BLOCK)), { size: 4 * BLOCK });
  await truncate(diffPath(0), 2 * BLOCK + 1);
  await using chain = await open(0);
  await chain.read(0, 2 * BLOCK);
  const failed = await chain.read(0, 4 * BLOCK).catch((error: unknown) => error);
  expect(failed).toMatchObject({ code: 'CORRUPT', context: { path: diffPath(0), offset: 2 * BLOCK + 1 } });
});

test('openChain rejects a corrupt header', async () => {
  await build(0, (overlay) => overlay.write(0, randomBytes(BLOCK)), { size: 4 * BLOCK });
  const header = await readFile(headerPath(0));
  for (const bytes of [
    header.subarray(0, -1),
    Buffer.alloc(10),
    Buffer.concat([header, header.subarray(64)]),
  ]) {
    await expect(openChain({ header: bytes, diffs: {} })).rejects.toThrow(rootloomError('CORRUPT'));
  }
  await expect(openChain({ header: Buffer.alloc(144), diffs: {} })).rejects.toThrow(
    rootloomError('UNSUPPORTED'),
  );
});

test('sealDevice stores the data of a sparse file, and reports its progress', async () => {
  const size = 32 << 20;
  const image = path.join(folder, 'image');
  await writeFile(image, '');
  await truncate(image, size);
  const data = randomBytes(3 * BLOCK);
  {
    await using file = await openFileDevice(image, { writable: true });
    await file.write(5 * BLOCK, data);
    await file.write(1 << 20, Buffer.alloc(1 << 20)); // Zeros that take space in the file.
  }
  await using file = await openFileDevice(image);
  let done = 0;
  const report = await sealDevice(
    file,
    { ...target(0), blockSize: BLOCK },
    {
      onProgress: (progress) => {
        done = progress.done;
      },
    },
  );
  expect(report).toEqual({
    size,
    diffBytes: 3 * BLOCK,
    dataBlocks: 3,
    zeroBlocks: size / BLOCK - 3,
    droppedBlocks: 0,
    diffSha256: expect.stringMatching(/^[0-9a-f]{64}$/),
  });
  expect(done).toBe(size);
  await using chain = await open(0);
  expect((await chain.read(5 * BLOCK, data.length)).equals(data)).toBe(true);
  expect((await contentOf(chain)).equals(await readFile(image))).toBe(true);
});

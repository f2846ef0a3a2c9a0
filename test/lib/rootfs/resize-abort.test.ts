/** An abort is answered while the disk is stuck, and what is left of the call has an owner that waits for it. */
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, expect, test, vi } from 'vitest';
import { Build } from '../../../lib/artifact/build.js';
import { resizeRootfs } from '../../../lib/build/resize-rootfs.js';
import { createZeroDevice } from '../../../lib/native/device.js';
import {
  createFaultyDevice,
  type FaultyDevice,
  type OperationKind,
} from '../../../lib/native/device-doubles.js';
import { ext4 } from '../../../lib/native/ext4.js';
import { ISOLATIONS } from '../../../lib/native/isolation.js';
import { createOverlay } from '../../../lib/native/overlay.js';
import { rebuildDisk, rebuiltSize } from '../../../lib/native/rebuild.js';
import { openStore } from '../../../lib/storage/open-store.js';
import { answerAbort, sleep } from '../../../lib/util/abort.js';
import { AdoptedWork } from '../../../lib/util/adopted-work.js';
import { buildBase } from '../../helpers/base-build.js';
import { makeSmallImage } from '../../helpers/small-image.js';
import { makeScratch } from '../../helpers/temporary.js';

const MIB = 1024 ** 2;
const GIB = 1024 ** 3;
const UUID = '3f0c5b1e-9a53-8c44-9d11-6a2b7c8d9e0f';

/** Far longer than an answer may take, so that the order of events cannot be a matter of luck. */
const STUCK_MS = 4000;

afterEach(() => {
  vi.restoreAllMocks();
});

/** The disk hangs so many times, after the operations that are skipped. */
async function makeStuckDisk(operation: OperationKind, skip: number, count = 1): Promise<FaultyDevice> {
  const folder = await makeScratch();
  await using zeros = createZeroDevice({ size: 2 * GIB });
  const disk = await createOverlay(zeros, { upperPath: path.join(folder, 'upper') });
  await ext4.mkfs(disk, { uuid: UUID, hashSeed: UUID, size: GIB });
  const stuck = createFaultyDevice(disk);
  await disk.close();
  stuck.arm({ operation, skip, count, delayMs: STUCK_MS });
  return stuck;
}

async function waitUntilStuck(disk: FaultyDevice): Promise<void> {
  while (disk.hitCount() === 0) await sleep(5);
}

test.for([
  ['opens the filesystem', 'read', 0, 'none'],
  ['reads the bitmaps', 'read', 4, 'none'],
  ['writes', 'write', 20, 'none'],
  ['reads for a helper process', 'read', 4, 'process'],
  ['writes what a helper process changed', 'write', 2, 'process'],
] as const)(
  'ext4.resize answers an abort while its disk is stuck as it %s',
  async ([, operation, skip, isolation]) => {
    const disk = await makeStuckDisk(operation, skip);
    const controller = new AbortController();
    const reason = new Error('enough');
    const resize = ext4.resize(disk, { size: 2 * GIB }, { isolation, signal: controller.signal });
    resize.catch(() => {});
    await waitUntilStuck(disk);
    const started = performance.now();
    controller.abort(reason);
    await expect(resize).rejects.toBe(reason);
    expect(performance.now() - started).toBeLessThan(STUCK_MS / 2);
    // The device is still used, and close waits for that.
    await disk.close();
    expect(performance.now() - started).toBeGreaterThan(STUCK_MS / 2);
  },
);

test.each(ISOLATIONS)(
  'rebuildDisk, isolated: %s, answers an abort while its source is stuck',
  async (isolation) => {
    const disk = await makeStuckDisk('read', 3, 2);
    const upperPath = path.join(await makeScratch(), 'new');
    const controller = new AbortController();
    const reason = new Error('enough');
    const options = { isolation, signal: controller.signal };
    const rebuild = rebuildDisk(disk, { size: GIB, upperPath }, options);
    const measure = rebuiltSize(disk, { free: 0 }, options);
    for (const call of [rebuild, measure]) call.catch(() => {});
    await waitUntilStuck(disk);
    const started = performance.now();
    controller.abort(reason);
    await expect(rebuild).rejects.toBe(reason);
    await expect(measure).rejects.toBe(reason);
    expect(performance.now() - started).toBeLessThan(STUCK_MS / 2);
    await disk.close();
    expect(performance.now() - started).toBeGreaterThan(STUCK_MS / 2);
  },
);

test('resizeRootfs answers an abort while its source is stuck; the store waits for what is left, and nothing stays behind', async () => {
  const folder = await makeScratch();
  const { reference } = await makeSmallImage(folder);
  const store = await openStore(path.join(folder, 'store'));
  const { build } = await buildBase({ store, reference, disk: { size: 64 * MIB } });
  const before = await store.listBuilds();
  let stuck: FaultyDevice | undefined;
  const open = Build.prototype.openDisk;
  vi.spyOn(Build.prototype, 'openDisk').mockImplementation(async function (this: Build, options) {
    const chain = await open.call(this, options);
    stuck = createFaultyDevice(chain);
    await chain.close();
    stuck.arm({ operation: 'read', skip: 3, count: 1, delayMs: STUCK_MS });
    return stuck;
  });
  const controller = new AbortController();
  const reason = new Error('enough');
  const resize = resizeRootfs(store, build.id, { disk: { size: GIB }, signal: controller.signal });
  resize.catch(() => {});
  await vi.waitUntil(() => stuck !== undefined, { timeout: 60_000 });
  // The overlay keeps the device, but its handle is closed by then.
  await sleep(1000);
  const started = performance.now();
  controller.abort(reason);
  await expect(resize).rejects.toBe(reason);
  expect(performance.now() - started).toBeLessThan(STUCK_MS / 2);
  await store.close();
  expect(await readdir(path.join(folder, 'store', '.rootloom', 'tmp'))).toEqual(['lock']);
  await using again = await openStore(path.join(folder, 'store'));
  expect(await again.listBuilds()).toEqual(before);
});

test('answerAbort gives what the work gives, and its own error when it stops in time', async () => {
  const adopt = vi.fn();
  const controller = new AbortController();
  expect(await answerAbort(Promise.resolve(7), undefined, adopt)).toBe(7);
  expect(await answerAbort(Promise.resolve(7), controller.signal, adopt)).toBe(7);
  const stopping = new Promise((_, reject) => {
    controller.signal.addEventListener('abort', () => reject(new Error('stopped')));
  });
  const answer = answerAbort(stopping, controller.signal, adopt);
  controller.abort();
  await expect(answer).rejects.toThrow('stopped');
  expect(adopt).not.toHaveBeenCalled();
});

test('AdoptedWork.settle waits for all work and tells what failed, once', async () => {
  const adopted = new AdoptedWork();
  const error = new Error('left a file');
  adopted.add(sleep(20));
  adopted.add(Promise.reject(error));
  await expect(adopted.settle('the store')).rejects.toMatchObject({
    code: 'CLEANUP_FAILED',
    context: { errors: [error] },
  });
  await adopted.settle('the store');
});

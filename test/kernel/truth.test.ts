/** Whoever was told that something is written can rely on it, and whoever cannot rely on it is told, at the latest by fsync. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { open, readFile, truncate, writeFile } from 'node:fs/promises';
import { constants } from 'node:os';
import path from 'node:path';
import { execa } from 'execa';
import { describe, expect, it, onTestFinished } from 'vitest';
import {
  attach,
  createFaultyDevice,
  createMemoryDevice,
  createOverlay,
  createZeroDevice,
  emptyDevice,
  openFileDevice,
} from '../../lib/index.js';
import type { FaultyDevice, OperationKind } from '../../lib/native/device-doubles.js';
import { makeScratch } from '../helpers/temporary.js';
import { seal } from './support/sealed.js';
import { devicesInUse, format, MIB, mount, unmount } from './support/system.js';

type Operation = Exclude<OperationKind, 'extents' | 'prefetch'>;

const OPERATIONS: readonly Operation[] = ['read', 'write', 'zero', 'trim', 'flush'];
const ERRORS = ['EIO', 'ENOSPC'] as const;

/** What the operations below are about, in bytes. */
const PLACE = { offset: 4 * MIB, length: 64 * 1024 };

/** Does one thing to the device, past its cache or through it and back; rejects when the program reports an error. */
async function carryOut(operation: Operation, device: string): Promise<void> {
  const block = [`bs=${PLACE.length}`, 'count=1'];
  const write = ['if=/dev/urandom', `of=${device}`, ...block, `seek=${PLACE.offset / PLACE.length}`];
  const range = ['--offset', `${PLACE.offset}`, '--length', `${PLACE.length}`, device];
  const commands: Record<Operation, [string, string[]]> = {
    read: [
      'dd',
      [`if=${device}`, 'of=/dev/null', 'iflag=direct', ...block, `skip=${PLACE.offset / PLACE.length}`],
    ],
    write: ['dd', [...write, 'oflag=direct']],
    zero: ['blkdiscard', ['--zeroout', ...range]],
    trim: ['blkdiscard', range],
    flush: ['dd', [...write, 'conv=fsync']],
  };
  await execa(...commands[operation]);
}

/** Arms a fault for the place; a kernel that cannot ask for zeros writes them. */
function spoil(
  device: FaultyDevice,
  operation: Operation,
  fault: { errno?: number; delayMs?: number; count?: number },
): void {
  device.arm({ ...PLACE, ...fault, operation });
  if (operation === 'zero') device.arm({ ...PLACE, ...fault, operation: 'write' });
}

function faultyDevice(): FaultyDevice {
  const device = createFaultyDevice(createMemoryDevice({ size: 32 * MIB }));
  onTestFinished(() => device.close());
  return device;
}

describe('an operation on an attached device', () => {
  const cases = OPERATIONS.flatMap((operation) => ERRORS.map((error) => ({ operation, error })));

  it.each(cases)('$operation reports $error, and works again afterwards', async ({ operation, error }) => {
    const device = faultyDevice();
    await using attachment = await attach(device);
    spoil(device, operation, { errno: constants.errno[error] });
    await expect(carryOut(operation, attachment.path)).rejects.toThrow(/Input\/output error|No space left/);
    expect(device.hitCount()).toBeGreaterThan(0);
    expect(attachment.stats().errorCount).toBeGreaterThan(0);
    device.disarm();
    await carryOut(operation, attachment.path);
    expect(attachment.lost.aborted).toBe(false);
  });

  it.each(OPERATIONS)('%s may be slow', async (operation) => {
    const device = faultyDevice();
    await using attachment = await attach(device);
    spoil(device, operation, { delayMs: 1500, count: 1 });
    await carryOut(operation, attachment.path);
    expect(device.hitCount()).toBeGreaterThan(0);
    expect(attachment.lost.aborted).toBe(false);
    expect(attachment.stats().errorCount).toBe(0);
  });

  it.each(OPERATIONS)(
    '%s that is not answered in time fails, and the attachment is lost',
    async (operation) => {
      const device = faultyDevice();
      const attachment = await attach(device, { timeoutSeconds: 2, deadConnectionTimeoutSeconds: 1 });
      const lost = once(attachment.lost, 'abort');
      spoil(device, operation, { delayMs: 7000, count: 1 });
      await expect(carryOut(operation, attachment.path)).rejects.toThrow(/Input\/output error/);
      await lost;
      expect(attachment.lost.reason).toMatchObject({ code: 'IO' });
      await expect(carryOut('read', attachment.path)).rejects.toThrow();
      await expect(attachment.close()).rejects.toMatchObject({ code: 'IO' });
      expect(await devicesInUse()).toEqual([]);
    },
  );

  it('that one connection does not answer is answered by another', async () => {
    const device = faultyDevice();
    await using attachment = await attach(device, { connections: 2, timeoutSeconds: 2 });
    spoil(device, 'read', { delayMs: 7000, count: 1 });
    await carryOut('read', attachment.path);
    expect(attachment.lost.aborted).toBe(false);
    await carryOut('write', attachment.path);
  });

  it('fails when somebody else disconnects the device', async () => {
    const device = faultyDevice();
    const attachment = await attach(device, { deadConnectionTimeoutSeconds: 1 });
    const lost = once(attachment.lost, 'abort');
    spoil(device, 'write', { delayMs: 3000, count: 1 });
    const write = carryOut('write', attachment.path);
    await expect.poll(() => device.hitCount()).toBe(1);
    const failed = expect(write).rejects.toThrow(/Input\/output error/);
    await execa('nbd-client', ['-d', attachment.path]);
    await failed;
    await lost;
    await expect(attachment.close()).rejects.toMatchObject({ code: 'IO' });
    expect(await devicesInUse()).toEqual([]);
  });

  it('reports a disk image that ends too soon, and does not invent its rest', async () => {
    const image = path.join(await makeScratch(), 'image');
    await using device = await openFileDevice(image, { create: 32 * MIB });
    await using attachment = await attach(device);
    await carryOut('write', attachment.path);
    await truncate(image, PLACE.offset + PLACE.length / 2);
    await expect(carryOut('read', attachment.path)).rejects.toThrow(/Input\/output error/);
  });
});

describe('a write that was lost on its way from the page cache', () => {
  /** Writes through the page cache, and leaves it there. */
  async function writeLater(device: string): Promise<void> {
    await execa('dd', [
      'if=/dev/urandom',
      `of=${device}`,
      'bs=1M',
      'count=4',
      'seek=2',
      'conv=nocreat,notrunc',
    ]);
  }

  it.each(ERRORS)('is told with %s to every descriptor that was open, once', async (error) => {
    const device = faultyDevice();
    await using attachment = await attach(device);
    const file = await open(attachment.path, 'r+');
    device.arm({ operation: 'write', errno: constants.errno[error] });
    await file.write(randomBytes(MIB), 0, MIB, 2 * MIB);
    await expect(file.sync()).rejects.toMatchObject({ code: 'EIO' });
    device.disarm();
    await expect(attachment.sync()).rejects.toMatchObject({ code: 'IO' });
    await attachment.sync();
    await file.sync();
    await file.close();
  });

  it('makes closing reject', async () => {
    const device = faultyDevice();
    const attachment = await attach(device);
    device.arm({ operation: 'write', errno: constants.errno.EIO });
    await writeLater(attachment.path);
    await expect(attachment.close()).rejects.toMatchObject({ code: 'IO' });
    expect(await devicesInUse()).toEqual([]);
  });

  it('is told by fsync of a file that was open before it was written', async () => {
    const device = faultyDevice();
    const attachment = await attach(device);
    await format(attachment.path);
    const folder = await mount(attachment.path);
    const file = await open(path.join(folder, 'file'), 'wx');
    await execa('sync', ['-f', folder]);
    device.arm({ operation: 'write', errno: constants.errno.EIO });
    await file.write(randomBytes(MIB));
    await expect(file.sync()).rejects.toMatchObject({ code: expect.stringMatching(/^(EIO|EROFS)$/) });
    await file.close();
    await execa('umount', [folder]);
    await attachment.discard();
  });
});

describe('a disk that lost a write', () => {
  it('is refused by seal when its overlay ran out of space', async () => {
    const folder = await makeScratch();
    await execa('mount', ['-t', 'tmpfs', '-o', 'size=12M', 'tmpfs', folder]);
    onTestFinished(async () => {
      await execa('umount', ['-l', folder]);
    });
    await using zeros = createZeroDevice({ size: 64 * MIB });
    await using overlay = await createOverlay(zeros, { upperPath: path.join(folder, 'upper') });
    const attachment = await attach(overlay);
    await format(attachment.path);
    const mounted = await mount(attachment.path);
    const write = writeFile(path.join(mounted, 'file'), randomBytes(24 * MIB), { flush: true });
    await expect(write).rejects.toMatchObject({ code: expect.stringMatching(/^(EIO|EROFS)$/) });
    await unmount(mounted);
    await attachment.discard();
    await expect(seal(overlay)).rejects.toMatchObject({ code: 'NO_SPACE' });
    await expect(overlay.freeze()).rejects.toMatchObject({ code: 'NO_SPACE' });
  });

  it("is refused by seal when its overlay's own disk failed", async () => {
    const device = createFaultyDevice(createMemoryDevice({ size: 64 * MIB }));
    const lower = await attach(device);
    await format(lower.path);
    const folder = await mount(lower.path);
    const zeros = createZeroDevice({ size: 32 * MIB });
    const overlay = await createOverlay(zeros, { upperPath: path.join(folder, 'upper') });
    const upper = await attach(overlay);
    const file = await open(upper.path, 'r+');
    await file.write(randomBytes(4 * MIB), 0, 4 * MIB, 0);
    device.arm({ operation: 'write', errno: constants.errno.EIO });
    await expect(file.sync()).rejects.toMatchObject({ code: 'EIO' });
    await file.close();
    await expect(upper.close()).rejects.toMatchObject({ code: 'IO' });
    await expect(seal(overlay)).rejects.toMatchObject({ code: expect.stringMatching(/^(IO|READ_ONLY)$/) });
    await overlay.close();
    await zeros.close();
    await unmount(folder);
    await lower.discard();
    await device.close();
  });
});

describe('a write that fsync confirmed', () => {
  it('is there after the power was cut', async () => {
    const inner = createMemoryDevice({ size: 64 * MIB });
    const device = createFaultyDevice(inner, { volatileCache: true });
    const content = randomBytes(3 * MIB);
    const attachment = await attach(device, { connections: 2 });
    await format(attachment.path);
    const folder = await mount(attachment.path);
    const file = await open(path.join(folder, 'confirmed'), 'wx');
    await file.write(content);
    await file.sync();
    await file.close();
    const sync = await open(folder);
    await sync.sync();
    await sync.close();
    await writeFile(path.join(folder, 'later'), randomBytes(3 * MIB));
    await device.crash();
    await execa('umount', [folder]);
    await attachment.discard();

    await using again = await attach(inner);
    const mounted = await mount(again.path);
    expect((await readFile(path.join(mounted, 'confirmed'))).equals(content)).toBe(true);
    await unmount(mounted);
    await execa('e2fsck', ['-fn', again.path]);
    await device.close();
  });

  it('is in the overlay, whatever was attached over it', async () => {
    await using overlay = await emptyDevice(32 * MIB);
    await using attachment = await attach(overlay);
    const content = randomBytes(2 * MIB);
    const file = await open(attachment.path, 'r+');
    await file.write(content, 0, content.length, PLACE.offset);
    await file.sync();
    expect((await overlay.read(PLACE.offset, content.length)).equals(content)).toBe(true);
    await file.close();
  });
});

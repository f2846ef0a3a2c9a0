/** Attachments in a real kernel, by both mechanisms: what they set up, what they tell, and that they leave nothing. */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import { describe, expect, it, onTestFinished } from 'vitest';
import {
  attach,
  createFaultyDevice,
  createMemoryDevice,
  emptyDevice,
  nbdDevices,
  openNbdPool,
} from '../../lib/index.js';
import { seededRandom } from '../helpers/random.js';
import { makeScratch } from '../helpers/temporary.js';

const MIB = 1024 ** 2;
const MECHANISMS = ['netlink', 'ioctl'] as const;

async function queueOf(device: string, setting: string): Promise<string> {
  return (await readFile(`/sys/block/${path.basename(device)}/queue/${setting}`, 'utf8')).trim();
}

async function usedDevices(): Promise<string[]> {
  return (await nbdDevices())
    .filter(({ use, connected }) => use !== 'free' || connected)
    .map((device) => device.path);
}

async function held(): Promise<{ descriptors: number; threads: number }> {
  const [descriptors, threads] = await Promise.all([readdir('/proc/self/fd'), readdir('/proc/self/task')]);
  return { descriptors: descriptors.length, threads: threads.length };
}

describe.each(MECHANISMS)('attach by %s', (mechanism) => {
  it('gives a device of the size, that reads and writes as the device does', async () => {
    await using device = createMemoryDevice({ size: 8 * MIB });
    await device.write(5 * MIB, Buffer.from('from below'));
    await using attachment = await attach(device, { mechanism });
    expect(attachment).toMatchObject({
      mechanism,
      readOnly: false,
      blockSize: 4096,
      connectionCount: 1,
      path: `/dev/nbd${attachment.index}`,
    });
    const { stdout } = await execa('blockdev', ['--getsize64', '--getss', '--getro', attachment.path]);
    expect(stdout.split('\n')).toEqual([String(8 * MIB), '4096', '0']);
    const read = await execa('dd', [`if=${attachment.path}`, 'bs=4096', 'skip=1280', 'count=1'], {
      encoding: 'buffer',
    });
    expect(Buffer.from(read.stdout).subarray(0, 10).toString()).toBe('from below');
    await writeFile(attachment.path, Buffer.alloc(MIB, 'x'));
    await attachment.sync();
    expect(await device.read(MIB - 4, 4)).toEqual(Buffer.from('xxxx'));
    expect(attachment.stats()).toMatchObject({ connectionCount: 1, writeBytes: MIB, errorCount: 0 });
    await attachment.close();
    expect(attachment.stats()).toMatchObject({ connectionCount: 0, writeBytes: MIB });
    expect(attachment.lost.aborted).toBe(false);
    expect(await usedDevices()).toEqual([]);
  });

  it('is read-only when it is asked to be', async () => {
    await using device = createMemoryDevice({ size: MIB });
    await using attachment = await attach(device, { mechanism, readOnly: true });
    expect(attachment.readOnly).toBe(true);
    expect((await execa('blockdev', ['--getro', attachment.path])).stdout).toBe('1');
    await expect(writeFile(attachment.path, 'x')).rejects.toMatchObject({ code: 'EPERM' });
  });

  it('has a block size of its own', async () => {
    await using device = createMemoryDevice({ size: MIB + 512 });
    await using attachment = await attach(device, { mechanism });
    expect(attachment.blockSize).toBe(512);
    expect((await execa('blockdev', ['--getss', '--getsize64', attachment.path])).stdout).toBe(
      `512\n${MIB + 512}`,
    );
  });

  it('sets the queue, whatever the last user of the device wanted', async () => {
    await using device = createMemoryDevice({ size: MIB });
    await using pool = await openNbdPool();
    for (const { path: name } of await pool.devices()) {
      await writeFile(`/sys/block/${path.basename(name)}/queue/read_ahead_kb`, '8');
    }
    const queue = { maxSectorsKb: 512 };
    await using attachment = await attach(device, { mechanism, pool, queue });
    expect(attachment.queue).toEqual({ scheduler: 'none', maxSectorsKb: 512, readAheadKb: 128 });
    expect(await queueOf(attachment.path, 'read_ahead_kb')).toBe('128');
    expect(await queueOf(attachment.path, 'max_sectors_kb')).toBe('512');
    expect(await queueOf(attachment.path, 'scheduler')).toContain('[none]');
    const wrong = attach(device, { mechanism, pool, queue: { scheduler: 'no-such-thing' } });
    await expect(wrong).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(await usedDevices()).toEqual([attachment.path]);
  });

  it('spreads I/O over its connections', async () => {
    await using device = createMemoryDevice({ size: 64 * MIB });
    await using attachment = await attach(device, { mechanism, connections: 4 });
    expect(attachment.stats().connectionCount).toBe(4);
    const job = ['--ioengine=libaio', '--direct=1', '--rw=randrw', '--bs=4k', '--iodepth=16', '--size=32M'];
    const load = ['--name=load', `--filename=${attachment.path}`, '--numjobs=1', '--verify=crc32c'];
    await execa('fio', [...load, ...job]);
    expect(attachment.stats().errorCount).toBe(0);
  });

  it('tells when somebody else disconnects the device', async () => {
    await using device = createMemoryDevice({ size: MIB });
    const attachment = await attach(device, { mechanism });
    const lost = new Promise((resolve) => attachment.lost.addEventListener('abort', resolve, { once: true }));
    await execa('nbd-client', ['-d', attachment.path]);
    await lost;
    // Whether everything arrived can no longer be found out.
    await expect(attachment.close()).rejects.toMatchObject({
      code: 'IO',
      context: { path: attachment.path },
    });
    expect(await usedDevices()).toEqual([]);
  });

  it('tells when the kernel gives up a connection that does not answer', async () => {
    await using memory = createMemoryDevice({ size: MIB });
    await using device = createFaultyDevice(memory);
    const options = { mechanism, timeoutSeconds: 1, deadConnectionTimeoutSeconds: 1 };
    const attachment = await attach(device, options);
    device.arm({ operation: 'read', delayMs: 6000, count: 1 });
    const started = Date.now();
    const lost = new Promise<number>((resolve) =>
      attachment.lost.addEventListener('abort', () => resolve(Date.now() - started), { once: true }),
    );
    await expect(
      execa('dd', [`if=${attachment.path}`, 'of=/dev/null', 'bs=64k', 'iflag=direct']),
    ).rejects.toMatchObject({ exitCode: 1 });
    expect(await lost).toBeLessThan(5000);
    expect(attachment.lost.reason).toMatchObject({ code: 'IO', context: { path: attachment.path } });
    await attachment.discard();
    expect(await usedDevices()).toEqual([]);
  });

  it('says so when what it detaches is mounted, and leaves nothing once that is unmounted', async () => {
    await using device = await emptyDevice(32 * MIB);
    const attachment = await attach(device, { mechanism });
    await execa('mke2fs', ['-q', '-t', 'ext4', attachment.path]);
    const folder = await makeScratch();
    await execa('mount', [attachment.path, folder]);
    onTestFinished(async () => {
      await execa('umount', [folder], { reject: false });
    });
    await expect(attachment.close()).rejects.toMatchObject({
      code: 'BUSY',
      context: { path: attachment.path },
    });
    await execa('umount', [folder]);
    expect(await usedDevices()).toEqual([]);
  });

  it('leaves nothing when it is aborted, at whatever moment', async () => {
    const random = seededRandom();
    await using device = createMemoryDevice({ size: 16 * MIB });
    await using pool = await openNbdPool();
    await (await attach(device, { mechanism, pool })).close();
    const before = await held();
    const reason = new Error('stop');
    let aborted = 0;
    for (let round = 0; round < 60; round += 1) {
      const controller = new AbortController();
      const timer = setTimeout(() => controller.abort(reason), random.next() * 40);
      const options = { mechanism, pool, signal: controller.signal, connections: 1 + (round % 4) };
      try {
        const attachment = await attach(device, options);
        clearTimeout(timer);
        await attachment.close();
      } catch (error) {
        expect(error).toBe(reason);
        aborted += 1;
      }
    }
    console.log(`${aborted} of 60 were aborted`);
    expect(await usedDevices()).toEqual([]);
    expect(await held()).toEqual(before);
  });
});

describe('attach', () => {
  it.each([
    ['no whole sectors', 1000],
    ['nothing at all', 0],
  ])('refuses a device with %s', async (_what, size) => {
    await using device = createMemoryDevice({ size });
    await expect(attach(device)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(await usedDevices()).toEqual([]);
  });

  it('refuses time-outs that are no whole seconds', async () => {
    await using device = createMemoryDevice({ size: MIB });
    await expect(attach(device, { timeoutSeconds: 0.5 })).rejects.toThrow(RangeError);
    await expect(attach(device, { deadConnectionTimeoutSeconds: -1 })).rejects.toThrow(RangeError);
  });
});

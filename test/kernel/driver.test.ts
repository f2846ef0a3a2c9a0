/** What has gone wrong with NBD drivers before (blktests' group nbd, in words of our own), on attachments. */
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { release } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { describe, expect, it } from 'vitest';
import { attach, emptyDevice } from '../../lib/index.js';
import { seededRandom } from '../helpers/random.js';
import { makeScratch, startChild } from '../helpers/temporary.js';
import { devicesInUse, format, MIB, sizeOf } from './support/system.js';

const MECHANISMS = ['netlink', 'ioctl'] as const;

/** As the kernel sees them. */
async function partitionsOf(device: string): Promise<string[]> {
  const name = path.basename(device);
  return (await readdir(path.join('/sys/block', name)))
    .filter((entry) => entry.startsWith(`${name}p`))
    .sort();
}

/** With two partitions of 16 MiB, for Linux. */
function masterBootRecord(): Buffer {
  const record = Buffer.alloc(512);
  for (const index of [0, 1]) {
    const entry = 446 + 16 * index;
    record.writeUInt8(0x83, entry + 4);
    record.writeUInt32LE((MIB / 512) * (1 + 16 * index), entry + 8);
    record.writeUInt32LE((16 * MIB) / 512, entry + 12);
  }
  record.writeUInt16LE(0xaa55, 510);
  return record;
}

describe.each(MECHANISMS)('a device attached by %s', (mechanism) => {
  it('has another size as soon as it is resized, for every program', async () => {
    await using overlay = await emptyDevice(64 * MIB);
    await using attachment = await attach(overlay, { mechanism });
    for (const size of [256 * MIB, 128 * MIB]) {
      if (size > overlay.size) await overlay.resize(size);
      await attachment.resize(size);
      expect(await sizeOf(attachment.path)).toBe(size);
      const { stdout } = await execa('blockdev', ['--getsize64', attachment.path]);
      expect(Number(stdout)).toBe(size);
    }
    await execa('dd', [
      'if=/dev/urandom',
      `of=${attachment.path}`,
      'bs=1M',
      'seek=127',
      'count=1',
      'oflag=direct',
    ]);
    const beyond = [
      'if=/dev/urandom',
      `of=${attachment.path}`,
      'bs=1M',
      'seek=128',
      'count=1',
      'oflag=direct',
    ];
    await expect(execa('dd', beyond)).rejects.toThrow(/No space left/);
  });

  it('has its partitions while it is attached, and no longer', async () => {
    await using overlay = await emptyDevice(64 * MIB);
    await overlay.write(0, masterBootRecord());
    for (let turn = 0; turn < 3; turn += 1) {
      let device: string;
      {
        // The record counts in blocks of the device.
        await using attachment = await attach(overlay, { mechanism, blockSize: 512 });
        device = attachment.path;
        const name = path.basename(device);
        if (turn === 0) await execa('blockdev', ['--rereadpt', device]);
        await expect.poll(() => partitionsOf(device)).toEqual([`${name}p1`, `${name}p2`]);
        expect(await sizeOf(device)).toBe(64 * MIB);
      }
      // The kernel notices when the device is opened next, as udev does where there is one.
      await execa('blockdev', ['--getsize64', device]);
      expect(await partitionsOf(device)).toEqual([]);
    }
  });

  it('may be disconnected by others while it is mounted and unmounted', async () => {
    const random = seededRandom();
    const folder = await makeScratch();
    for (let round = 0; round < 8; round += 1) {
      await using overlay = await emptyDevice(16 * MIB);
      const attachment = await attach(overlay, { mechanism, deadConnectionTimeoutSeconds: 1 });
      await format(attachment.path);
      const loop = 'while mount -t ext4 "$1" "$2" && touch "$2/file"; do umount "$2" || exit 0; done';
      const mounting = execa('sh', ['-c', loop, 'sh', attachment.path, folder], { reject: false });
      await sleep(random.next() * 600);
      await execa('nbd-client', ['-d', attachment.path], { reject: false });
      await mounting;
      await execa('umount', ['-q', folder], { reject: false });
      await attachment.discard();
      expect(await devicesInUse()).toEqual([]);
    }
  });
});

describe('the driver', () => {
  it('may be loaded and unloaded while devices are attached and detached', async () => {
    const file = `/usr/lib/uml/modules/${release()}/kernel/drivers/block/nbd.ko`;
    const load = existsSync(file) ? ['insmod', file, 'nbds_max=16'] : ['modprobe', 'nbd', 'nbds_max=16'];
    const child = startChild(new URL('children/attach-until.ts', import.meta.url), ['15']);
    const ended = child.waitForExit();
    let running = true;
    void ended.then(() => {
      running = false;
    });
    let unloaded = 0;
    while (running) {
      const { exitCode } = await execa('rmmod', ['nbd'], { reject: false });
      if (exitCode === 0) unloaded += 1;
      await sleep(50);
      await execa(load[0] as string, load.slice(1), { reject: false });
      await sleep(200);
    }
    expect(await ended).toBe(0);
    console.log(`unloaded ${unloaded} times; ${child.lines[0]}`);
    const counts = JSON.parse(child.lines[0] as string) as Record<string, number>;
    expect(unloaded).toBeGreaterThan(0);
    expect((counts.netlink ?? 0) + (counts.ioctl ?? 0)).toBeGreaterThan(0);
    expect(await devicesInUse()).toEqual([]);
    await using overlay = await emptyDevice(8 * MIB);
    await using attachment = await attach(overlay);
    expect(await sizeOf(attachment.path)).toBe(8 * MIB);
  });
});

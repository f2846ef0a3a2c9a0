/** The pool in a real kernel: devices for many, none for two, and what killed processes leave. */
import { open, readFile, writeFile } from 'node:fs/promises';
import { execa } from 'execa';
import { describe, expect, it, onTestFinished } from 'vitest';
import {
  type Attachment,
  attach,
  createMemoryDevice,
  emptyDevice,
  type NbdDevice,
  type NbdPool,
  nbdDevices,
  openNbdPool,
  reclaimNbdDevices,
} from '../../lib/index.js';
import { makeScratch, startChild } from '../helpers/temporary.js';

const MIB = 1024 ** 2;
const HOLDER = new URL('./children/hold-attachment.ts', import.meta.url);

async function stateOf(device: string): Promise<NbdDevice | undefined> {
  return (await nbdDevices()).find(({ path }) => path === device);
}

/** The path of the device that a child holds. */
async function startHolder(mechanism: string) {
  const child = startChild(HOLDER, [mechanism]);
  await child.waitFor('attached');
  return { child, device: child.lines[0] as string };
}

describe('NbdPool', () => {
  it('gives every device to one caller, and then says that there is none', async () => {
    await using device = createMemoryDevice({ size: MIB });
    await using pool = await openNbdPool();
    const count = (await pool.devices()).length;
    const results = await Promise.allSettled(
      Array.from({ length: count + 3 }, () => attach(device, { pool, readOnly: true })),
    );
    const attached = results.flatMap((result): Attachment[] =>
      result.status === 'fulfilled' ? [result.value] : [],
    );
    expect(new Set(attached.map(({ index }) => index)).size).toBe(count);
    for (const result of results) {
      if (result.status === 'rejected') expect(result.reason).toMatchObject({ code: 'BUSY' });
    }
    expect(
      (await pool.devices()).every(({ use, ownerPid }) => use === 'ours' && ownerPid === process.pid),
    ).toBe(true);
    await Promise.all(attached.map((attachment) => attachment.close()));
    expect((await pool.devices()).every(({ use }) => use === 'free')).toBe(true);
  });

  it('shares devices with pools of other folders, who are strangers to it', async () => {
    await using device = createMemoryDevice({ size: MIB });
    await using other = await openNbdPool({ folder: await makeScratch() });
    await using mine = await attach(device);
    await using theirs = await attach(device, { pool: other });
    expect(theirs.index).not.toBe(mine.index);
    expect((await stateOf(theirs.path))?.use).toBe('foreign');
    expect(await reclaimNbdDevices()).toEqual([]);
    expect((await stateOf(theirs.path))?.connected).toBe(true);
  });

  it('keeps away from what nbd-client connected', async () => {
    const folder = await makeScratch();
    await execa('truncate', ['--size=1M', `${folder}/image`]);
    await execa('qemu-nbd', ['--fork', '--format=raw', `--socket=${folder}/socket`, `${folder}/image`]);
    await execa('nbd-client', ['-unix', `${folder}/socket`, '/dev/nbd3']);
    onTestFinished(async () => {
      await execa('nbd-client', ['-d', '/dev/nbd3']);
    });
    expect(await stateOf('/dev/nbd3')).toMatchObject({ use: 'foreign', connected: true, size: MIB });
    await using device = createMemoryDevice({ size: MIB });
    await using pool = await openNbdPool();
    const attached: Attachment[] = [];
    for (let free = (await pool.devices()).length - 1; free > 0; free -= 1) {
      attached.push(await attach(device, { pool }));
    }
    await expect(attach(device, { pool })).rejects.toMatchObject({ code: 'BUSY' });
    expect(attached.map(({ path }) => path)).not.toContain('/dev/nbd3');
    await Promise.all(attached.map((attachment) => attachment.close()));
    expect(await pool.reclaim()).toEqual([]);
    expect((await stateOf('/dev/nbd3'))?.connected).toBe(true);
  });
});

describe('connectAhead', () => {
  const inStock = async (pool: NbdPool) =>
    (await pool.devices()).filter(({ use, size }) => use === 'ours' && size === 0).map(({ path }) => path);
  const waitForStock = (pool: NbdPool, count: number) =>
    expect.poll(() => inStock(pool), { timeout: 20_000 }).toHaveLength(count);

  it('connects devices before they are wanted, and again when they are taken', async () => {
    await using device = await emptyDevice(8 * MIB);
    await device.write(0, Buffer.from('content'));
    await using pool = await openNbdPool({ connectAhead: 2 });
    for (let round = 0; round < 6; round += 1) {
      await waitForStock(pool, 2);
      const ready = await inStock(pool);
      await using attachment = await attach(device, { pool, queue: { readAheadKb: 64 + 4 * round } });
      expect(ready).toContain(attachment.path);
      expect(attachment.queue.readAheadKb).toBe(64 + 4 * round);
      const { stdout } = await execa('blockdev', ['--getsize64', attachment.path]);
      expect(Number(stdout)).toBe(device.size);
      // The device was empty until now: nothing of it is in any cache.
      expect((await readFile(attachment.path)).subarray(0, 7).toString()).toBe(
        round === 0 ? 'content' : `round ${round - 1}`,
      );
      await writeFile(attachment.path, `round ${round}`);
      await attachment.sync();
    }
    expect((await device.read(0, 7)).toString()).toBe('round 5');
    await pool.close();
    expect((await nbdDevices()).every(({ use }) => use === 'free')).toBe(true);
  });

  it('serves what does not suit its devices all the same', async () => {
    await using device = createMemoryDevice({ size: MIB + 512 });
    await using pool = await openNbdPool({ connectAhead: 1 });
    await waitForStock(pool, 1);
    const ready = await inStock(pool);
    await using odd = await attach(device, { pool });
    expect(odd.blockSize).toBe(512);
    await using readOnly = await attach(device, { pool, readOnly: true });
    await using wide = await attach(device, { pool, connections: 3 });
    expect(ready).not.toContain(odd.path);
    expect([readOnly.readOnly, wide.connectionCount]).toEqual([true, 3]);
  });

  it('passes over a device that somebody disconnected', async () => {
    await using device = createMemoryDevice({ size: MIB });
    await using pool = await openNbdPool({ connectAhead: 1 });
    await waitForStock(pool, 1);
    const [ready] = await inStock(pool);
    await execa('nbd-client', ['-d', ready as string]);
    await using attachment = await attach(device, { pool });
    // Somebody freed it, so the attachment may connect it anew, but never hands it out as it is.
    const { stdout } = await execa('dd', [`if=${attachment.path}`, 'bs=64k'], { encoding: 'buffer' });
    expect(Buffer.alloc(MIB).equals(stdout)).toBe(true);
  });
});

describe.each(['netlink', 'ioctl'])('a process that is killed, attached by %s', (mechanism) => {
  it('leaves nothing when its device is not in use', async () => {
    const { child, device } = await startHolder(mechanism);
    expect(await stateOf(device)).toMatchObject({ use: 'ours', ownerPid: child.process.pid });
    await child.kill();
    await expect
      .poll(() => stateOf(device), { timeout: 20_000 })
      .toMatchObject({ use: 'free', connected: false });
  });
});

describe('reclaimNbdDevices', () => {
  it('takes back a device that a killed process left mounted, as soon as it is unmounted', async () => {
    const { child, device } = await startHolder('netlink');
    await execa('mke2fs', ['-q', '-t', 'ext4', device]);
    const folder = await makeScratch();
    await execa('mount', [device, folder]);
    onTestFinished(async () => {
      await execa('umount', [folder], { reject: false });
    });
    await child.kill();
    // Its guard has the device locked for a moment.
    await expect.poll(() => stateOf(device)).toMatchObject({ use: 'left', ownerPid: child.process.pid });
    expect(await reclaimNbdDevices()).toEqual([]);
    expect((await stateOf(device))?.use).toBe('left');
    await execa('umount', [folder]);
    expect(await stateOf(device)).toMatchObject({ use: 'free', connected: false });
  });

  it('takes back a device that a killed process left with a program that reads it', async () => {
    const { child, device } = await startHolder('netlink');
    const reader = await open(device);
    onTestFinished(() => reader.close());
    await child.kill();
    await expect.poll(async () => (await stateOf(device))?.use).toBe('left');
    expect(await reclaimNbdDevices()).toEqual([]);
    await reader.close();
    expect(await stateOf(device)).toMatchObject({ use: 'free', connected: false });
  });
});

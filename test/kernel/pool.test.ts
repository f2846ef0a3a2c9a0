/** The pool in a real kernel: devices for many, none for two, and what killed processes leave. */
import { open } from 'node:fs/promises';
import { execa } from 'execa';
import { describe, expect, it, onTestFinished } from 'vitest';
import {
  type Attachment,
  attach,
  createMemoryDevice,
  type NbdDevice,
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
    expect(await stateOf(device)).toMatchObject({ use: 'left', ownerPid: child.process.pid });
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
    expect((await stateOf(device))?.use).toBe('left');
    expect(await reclaimNbdDevices()).toEqual([]);
    await reader.close();
    expect(await stateOf(device)).toMatchObject({ use: 'free', connected: false });
  });
});

/** The kernel's driver with its stock user space: shows that what the other files find is not the kernel's or the harness's. */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import { describe, expect, it } from 'vitest';
import { makeScratch } from '../helpers/temporary.js';

describe('nbd driver', () => {
  it('has at least 16 devices, none of them in use', async () => {
    const devices = (await readdir('/sys/block')).filter((name) => /^nbd\d+$/.test(name));
    expect(devices.length).toBeGreaterThanOrEqual(16);
    for (const device of devices) expect(await readdir(`/sys/block/${device}`)).not.toContain('pid');
  });

  it('serves a filesystem over nbd-client and qemu-nbd', async () => {
    const folder = await makeScratch();
    const image = path.join(folder, 'disk.img');
    const socket = path.join(folder, 'socket');
    const mountPoint = await makeScratch();
    await execa('truncate', ['--size=64M', image]);
    await execa('qemu-nbd', ['--fork', '--format=raw', '--discard=unmap', `--socket=${socket}`, image]);
    await execa('nbd-client', ['-unix', socket, '/dev/nbd0']);
    await execa('mke2fs', ['-q', '-t', 'ext4', '/dev/nbd0']);
    await execa('mount', ['/dev/nbd0', mountPoint]);
    await writeFile(path.join(mountPoint, 'file'), 'content');
    await execa('umount', [mountPoint]);
    await execa('nbd-client', ['-d', '/dev/nbd0']);
    await execa('e2fsck', ['-fn', image]);
    const { stdout } = await execa('debugfs', ['-R', 'cat /file', image]);
    expect(stdout).toBe('content');
    expect(await readFile('/sys/block/nbd0/size', 'utf8')).toBe('0\n');
  });
});

/** mountRootfs and its kin on a real kernel. */
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import {
  lstat,
  mkdir,
  open,
  readdir,
  readFile,
  readlink,
  realpath,
  statfs,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { constants } from 'node:os';
import path from 'node:path';
import { execa } from 'execa';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkNbd } from '../../lib/build/doctor-nbd.js';
import type { Device } from '../../lib/native/device.js';
import { createFaultyDevice } from '../../lib/native/device-doubles.js';
import { attachEmpty } from '../../lib/rootfs/attached-disk.js';
import { type MountRootfsOptions, mountRootfs } from '../../lib/rootfs/mount.js';
import { openStore } from '../../lib/storage/open-store.js';
import { startFolderUser } from '../helpers/folder-user.js';
import { publishImage } from '../helpers/image-build.js';
import { type MountableBuild, makeMountableBuild } from '../helpers/mountable-build.js';
import { expectNothingAttached, isMounted } from '../helpers/nbd-state.js';
import { stateOf } from '../helpers/store-state.js';
import { makeScratch, startChild } from '../helpers/temporary.js';

let made: MountableBuild;
let folder: string;
beforeEach(async () => {
  const scratch = await realpath(await makeScratch());
  made = await makeMountableBuild(scratch);
  folder = path.join(scratch, 'mount point');
  await mkdir(folder);
});
afterEach(async () => {
  await expectNothingAttached();
  expect((await stateOf(made.store)).temporary).toEqual([]);
});

const mount = (options?: MountRootfsOptions) => mountRootfs(made.store, made.buildId, folder, options);

/** Whether a device has a block of these 4096 bytes anywhere. */
async function holdsBlock(device: Device, block: Buffer): Promise<boolean> {
  const step = 2 ** 20;
  for (let offset = 0; offset < device.size; offset += step) {
    const place = (await device.read(offset, Math.min(step, device.size - offset))).indexOf(block);
    if (place >= 0) return true;
  }
  return false;
}

describe('mountRootfs', () => {
  it('shows the files of a build, and with readOnly takes no writes', async () => {
    {
      await using mounted = await mount({ readOnly: true });
      expect(mounted.path).toBe(folder);
      expect(mounted.devicePath).toMatch(/^\/dev\/nbd\d+$/);
      expect(await readdir(path.join(folder, 'srv'))).toEqual(['blob', 'link', 'secret']);
      expect((await readFile(path.join(folder, 'srv/blob'))).equals(made.blob)).toBe(true);
      expect(await readlink(path.join(folder, 'srv/link'))).toBe('blob');
      expect((await lstat(path.join(folder, 'srv/secret'))).mode & 0o7777).toBe(0o600);
      await expect(writeFile(path.join(folder, 'file'), '')).rejects.toMatchObject({ code: 'EROFS' });
    }
    expect(await readdir(folder)).toEqual([]);
  });

  it('mounts a filesystem whose blocks are smaller than those of a disk', async () => {
    const image = path.join(await makeScratch(), 'image');
    await writeFile(image, '');
    await truncate(image, 32 * 2 ** 20);
    await execa('mke2fs', ['-q', '-t', 'ext4', '-b', '1024', image]);
    const { id } = await publishImage(made.store, image);
    await using _mounted = await mountRootfs(made.store, id, folder);
    await writeFile(path.join(folder, 'file'), 'content');
    expect((await statfs(folder)).bsize).toBe(1024);
  });

  it('takes writes that the build never sees', async () => {
    {
      await using _mounted = await mount({ connections: 4 });
      await writeFile(path.join(folder, 'srv/blob'), 'other');
      await writeFile(path.join(folder, 'new'), randomBytes(4 * 2 ** 20));
      await execa('sync', ['-f', folder]);
    }
    {
      await using _mounted = await mount();
      expect((await readFile(path.join(folder, 'srv/blob'))).equals(made.blob)).toBe(true);
      expect(await readdir(folder)).not.toContain('new');
    }
    await using _mounted = await mount({ check: true });
  });

  it('has in its overlay what an fsync was told to keep', async () => {
    await using mounted = await mount();
    const block = randomBytes(4096);
    const { device } = mounted.attached.rootfs;
    await using file = await open(path.join(folder, 'file'), 'w');
    await file.write(block);
    expect(await holdsBlock(device, block)).toBe(false);
    await file.sync();
    expect(await holdsBlock(device, block)).toBe(true);
  });

  it('serves its own process, synchronously and with all threads of the pool busy', async () => {
    await using _mounted = await mount();
    expect(readFileSync(path.join(folder, 'srv/blob')).equals(made.blob)).toBe(true);
    writeFileSync(path.join(folder, 'sync'), 'written');
    const names = Array.from({ length: 64 }, (_, index) => path.join(folder, `file-${index}`));
    await Promise.all(names.map((name) => writeFile(name, made.blob.subarray(0, 65_536), { flush: true })));
    const read = await Promise.all(names.map((name) => readFile(name)));
    expect(read.every((content) => content.equals(made.blob.subarray(0, 65_536)))).toBe(true);
    expect((await statfs(folder)).type).toBe(0xef53);
  });

  it('gives no rights that the image asks for, unless told to', async () => {
    const optionsOf = async () =>
      (await readFile('/proc/self/mounts', 'utf8')).split('\n').find((line) => line.includes(' ext4 ')) ?? '';
    {
      await using _mounted = await mount();
      expect(await optionsOf()).toMatch(/nosuid,nodev/);
    }
    await using _mounted = await mount({ options: ['suid', 'noatime'] });
    expect(await optionsOf()).toMatch(/ rw,nodev,noatime/);
  });

  it.each([
    ['a folder that is not there', 'missing', {}, { code: 'NOT_FOUND' }],
    ['a file', '../image.ext4', {}, { code: 'INVALID_ARGUMENT' }],
    ['an option that the kernel does not know', '.', { options: ['nonsense'] }, { code: 'IO' }],
  ])('refuses %s and leaves nothing', async (_, place, options, error) => {
    const target = path.join(folder, place);
    await expect(mountRootfs(made.store, made.buildId, target, options)).rejects.toMatchObject(error);
  });

  it('refuses a folder where something is mounted', async () => {
    await using _mounted = await mount();
    await expect(mount()).rejects.toMatchObject({ code: 'BUSY', context: { path: folder } });
  });

  it('that is aborted leaves nothing, whenever that is', { timeout: 240_000 }, async () => {
    const reason = new Error('enough');
    let aborted = 0;
    for (let delay = 0; delay <= 600; delay += 40) {
      const controller = new AbortController();
      const timer = setTimeout(() => controller.abort(reason), delay);
      const outcome = await mount({ signal: controller.signal }).catch((error: unknown) => error);
      clearTimeout(timer);
      if (outcome === reason) aborted += 1;
      else await (outcome as Awaited<ReturnType<typeof mount>>).close();
      await expectNothingAttached();
    }
    expect(aborted).toBeGreaterThan(0);
  });
});

describe('Mount.close', () => {
  it('rejects with BUSY and names who uses it, and works when that has gone', async () => {
    const mounted = await mount();
    const user = await startFolderUser(path.join(folder, 'srv'));
    await expect(mounted.close()).rejects.toMatchObject({
      code: 'BUSY',
      message: expect.stringContaining(`sleep (pid ${user.pid}) works in it`),
    });
    expect((await readFile(path.join(folder, 'srv/blob'))).equals(made.blob)).toBe(true);
    await user.stop();
    await mounted.close();
    await mounted.close();
    expect(await isMounted(folder)).toBe(false);
  });

  it('rejects with BUSY when something is mounted below', async () => {
    const mounted = await mount();
    const below = path.join(folder, 'srv');
    await execa('mount', ['-t', 'tmpfs', 'none', below]);
    await expect(mounted.close()).rejects.toMatchObject({
      code: 'BUSY',
      message: expect.stringContaining(below),
    });
    await execa('umount', [below]);
    await mounted.close();
  });

  it('is content with a mount that somebody else has ended', async () => {
    const mounted = await mount();
    await execa('umount', [folder]);
    await mounted.close();
  });

  it('keeps a disk that is mounted a second time', async () => {
    const mounted = await mount();
    const second = await makeScratch();
    await execa('mount', ['--bind', folder, second]);
    await expect(mounted.close()).rejects.toMatchObject({
      code: 'BUSY',
      message: expect.stringContaining(second),
    });
    await execa('umount', [second]);
    await mounted.close();
  });

  it('tells of writes that were lost, and has released everything', async () => {
    const errno = constants.errno.ENOSPC;
    let faulty: ReturnType<typeof createFaultyDevice> | undefined;
    const wrapDevice = (disk: Device) => {
      faulty = createFaultyDevice(disk);
      return faulty;
    };
    const mounted = await mount({ wrapDevice });
    await using file = await open(path.join(folder, 'file'), 'w');
    await file.write(made.blob);
    faulty?.arm({ operation: 'write', errno });
    await expect(file.sync()).rejects.toMatchObject({ code: expect.stringMatching(/^(EIO|ENOSPC)$/) });
    await file.close();
    await expect(mounted.close()).rejects.toMatchObject({ code: 'CLEANUP_FAILED' });
    await faulty?.close();
    expect(await isMounted(folder)).toBe(false);
  });
});

describe('Mount.forceClose', () => {
  it('unmounts lazily what is in use, says so, and takes the device away', async () => {
    const mounted = await mount();
    const user = await startFolderUser(folder);
    const [unmounted, ...more] = await mounted.forceClose();
    expect(more).toEqual([]);
    expect(unmounted).toEqual({
      device: mounted.devicePath,
      path: folder,
      lazily: true,
      reason: expect.stringContaining(`pid ${user.pid}`),
    });
    expect(await isMounted(folder)).toBe(false);
    expect((await stateOf(made.store)).temporary).toEqual([]);
    await mounted.close();
    await user.stop();
  });

  it('of a mount that nobody uses leaves nothing', async () => {
    const mounted = await mount();
    expect(await mounted.forceClose()).toMatchObject([{ path: folder, lazily: false }]);
  });
});

describe('a process that does not close its mount', () => {
  it.each(['exit', 'throw'])('unmounts it when it ends by %s', async (how) => {
    const args = [made.storePath, made.buildId, folder, how];
    const child = startChild(new URL('children/mount-and-exit.ts', import.meta.url), args);
    expect(await child.waitForExit()).toBe(how === 'exit' ? 0 : 1);
    await expectNothingAttached();
    expect(await readdir(folder)).toEqual([]);
    await using _next = await openStore(made.storePath); // Removes what the process has left in the store.
  });
});

describe('checkNbd', () => {
  it('finds this kernel ready', async () => {
    const found = '16 devices, 16 of them free';
    expect(await checkNbd()).toEqual({ name: 'kernel NBD', state: 'ok', found, cost: '' });
    await using _mounted = await mount();
    expect(await checkNbd()).toMatchObject({ state: 'ok', found: '16 devices, 15 of them free' });
  });
});

describe('attachEmpty', () => {
  it('gives a disk for stock tools, and keeps it while it is mounted', async () => {
    const disk = await attachEmpty(32 * 2 ** 20);
    await execa('mke2fs', ['-q', '-t', 'ext4', disk.devicePath]);
    await execa('mount', [disk.devicePath, folder]);
    await writeFile(path.join(folder, 'file'), 'content');
    await expect(disk.close()).rejects.toMatchObject({ code: 'BUSY', context: { path: disk.devicePath } });
    expect(await readFile(path.join(folder, 'file'), 'utf8')).toBe('content');
    await execa('umount', [folder]);
    await execa('e2fsck', ['-fn', disk.devicePath]);
    await disk.close();
  });
});

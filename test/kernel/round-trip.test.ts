/** What is written to an attached device is what a build of it holds, no more and no less. */
import { createHash, randomBytes } from 'node:crypto';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import { describe, expect, it } from 'vitest';
import { publishBuild } from '../../lib/artifact/publish.js';
import { attach, emptyDevice, openRootfs, type Store } from '../../lib/index.js';
import { makeStore } from '../lib/artifact/builds.js';
import { describeTree, fillTree } from './support/files.js';
import { reopen, seal } from './support/sealed.js';
import { format, MIB, mount, sizeOf, unmount } from './support/system.js';

describe('Attachment', () => {
  it.each(['netlink', 'ioctl'] as const)(
    'carries a filesystem of the stock tools into a build, by %s',
    async (mechanism) => {
      await using overlay = await emptyDevice(128 * MIB);
      let written: Record<string, string>;
      {
        await using attachment = await attach(overlay, { mechanism });
        await format(attachment.path);
        const folder = await mount(attachment.path);
        await fillTree(folder);
        written = await describeTree(folder);
        await unmount(folder);
      }
      const disk = await seal(overlay);
      expect(disk.report.dataBlocks * 4096).toBe(disk.report.diffBytes);
      await using chain = await reopen(disk);
      await using attachment = await attach(chain, { mechanism });
      expect(attachment.readOnly).toBe(true);
      await execa('e2fsck', ['-fn', attachment.path]);
      const folder = await mount(attachment.path, 'ro');
      expect(await describeTree(folder)).toEqual(written);
      await unmount(folder);
    },
  );

  it('stores nothing of what was discarded or zeroed', async () => {
    await using overlay = await emptyDevice(64 * MIB);
    {
      await using attachment = await attach(overlay);
      const device = attachment.path;
      await execa('dd', ['if=/dev/urandom', `of=${device}`, 'bs=1M', 'count=16', 'oflag=direct']);
      await execa('blkdiscard', ['--offset', `${2 * MIB}`, '--length', `${3 * MIB}`, device]);
      await execa('blkdiscard', ['--zeroout', '--offset', `${7 * MIB}`, '--length', `${MIB}`, device]);
      await execa('blkdiscard', ['--offset', `${10 * MIB}`, '--length', `${2 * MIB}`, device]);
      await execa('dd', ['if=/dev/zero', `of=${device}`, 'bs=1M', 'seek=13', 'count=1', 'oflag=direct']);
      // Zeros arrive as writes of zeros from a kernel whose driver knows no other way to say it.
      expect(attachment.stats().trimCount).toBeGreaterThan(0);
    }
    const disk = await seal(overlay);
    expect(disk.report.dataBlocks).toBe((9 * MIB) / 4096);
    await using chain = await reopen(disk);
    const data = (await chain.extents(0, chain.size)).filter(({ kind }) => kind === 'data');
    expect(data.map(({ offset, length }) => [offset / MIB, length / MIB])).toEqual([
      [0, 2],
      [5, 2],
      [8, 2],
      [12, 1],
      [14, 2],
    ]);
  });

  it('stores nothing of files that were deleted or punched on a filesystem that discards', async () => {
    await using overlay = await emptyDevice(128 * MIB);
    {
      await using attachment = await attach(overlay);
      await format(attachment.path);
      const folder = await mount(attachment.path, 'discard');
      await writeFile(path.join(folder, 'gone'), randomBytes(40 * MIB), { flush: true });
      await writeFile(path.join(folder, 'punched'), randomBytes(20 * MIB), { flush: true });
      await execa('sync', ['-f', folder]);
      expect(overlay.dirtyBytes()).toBeGreaterThan(60 * MIB);
      await execa('rm', [path.join(folder, 'gone')]);
      const punch = ['--punch-hole', '--offset', `${4 * MIB}`, '--length', `${16 * MIB}`];
      await execa('fallocate', [...punch, path.join(folder, 'punched')]);
      await execa('sync', ['-f', folder]);
      await execa('fstrim', [folder]);
      await unmount(folder);
    }
    const { report } = await seal(overlay);
    expect(report.diffBytes).toBeGreaterThan(4 * MIB);
    expect(report.diffBytes).toBeLessThan(12 * MIB);
  });

  it('grows under a mounted filesystem that is being written to', async () => {
    await using overlay = await emptyDevice(64 * MIB);
    {
      await using attachment = await attach(overlay, { connections: 2 });
      await format(attachment.path);
      const folder = await mount(attachment.path);
      const stopped = new AbortController();
      const loop =
        'i=0; while :; do dd if=/dev/zero of="$1/$((i % 8))" bs=64k count=32 conv=fsync status=none || exit 1; i=$((i + 1)); done';
      const writer = execa('sh', ['-c', loop, 'sh', folder], { reject: false, cancelSignal: stopped.signal });
      for (const size of [96 * MIB, 160 * MIB, 256 * MIB]) {
        await overlay.resize(size);
        await attachment.resize(size);
        expect(await sizeOf(attachment.path)).toBe(size);
        await execa('resize2fs', [attachment.path]);
      }
      stopped.abort();
      expect((await writer).isCanceled).toBe(true);
      const { stdout } = await execa('stat', ['-f', '-c', '%b %S', folder]);
      const [blocks = 0, blockBytes = 0] = stdout.split(' ').map(Number);
      expect(blocks * blockBytes).toBeGreaterThan(200 * MIB);
      await unmount(folder);
      await execa('e2fsck', ['-fn', attachment.path]);
    }
    expect((await seal(overlay)).report.size).toBe(256 * MIB);
  });

  it('refuses to grow beyond its device', async () => {
    await using overlay = await emptyDevice(8 * MIB);
    await using attachment = await attach(overlay);
    await expect(attachment.resize(16 * MIB)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(await sizeOf(attachment.path)).toBe(8 * MIB);
  });

  it.each(['netlink', 'ioctl'] as const)(
    'keeps every byte over four connections under load, by %s',
    async (mechanism) => {
      await using overlay = await emptyDevice(64 * MIB);
      await using attachment = await attach(overlay, { connections: 4, mechanism });
      expect(attachment.connectionCount).toBe(4);
      const load = [`--filename=${attachment.path}`, '--direct=1', '--ioengine=libaio', '--iodepth=32'];
      const work = ['--rw=randwrite', '--bssplit=4k/60:16k/20:128k/20', '--io_size=48M', '--randrepeat=0'];
      const verification = ['--verify=crc32c', '--verify_fatal=1', '--do_verify=1', '--serialize_overlap=1'];
      await execa('fio', ['--name=load', ...load, ...work, ...verification]);
      expect(attachment.stats()).toMatchObject({ connectionCount: 4, errorCount: 0 });
    },
  );
});

describe('a build', () => {
  async function digests(folder: string): Promise<Record<string, string>> {
    const found: Record<string, string> = {};
    for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const place = path.join(entry.parentPath, entry.name);
      found[place] = createHash('sha256')
        .update(await readFile(place))
        .digest('hex');
    }
    return found;
  }

  /** Publishes a disk with a filesystem that holds one file. */
  async function publishDisk(store: Store): Promise<string> {
    await using overlay = await emptyDevice(64 * MIB);
    {
      await using attachment = await attach(overlay);
      await format(attachment.path);
      const folder = await mount(attachment.path);
      await writeFile(path.join(folder, 'file'), 'first');
      await unmount(folder);
    }
    const { buildId, diffPath, headerPath } = await seal(overlay);
    const disk = { dataPath: diffPath, headerPath };
    await publishBuild(store, { buildId, disk, description: { phase: 'base' } });
    return buildId;
  }

  it('is not changed by what is written to its attached disk', async () => {
    const store = await makeStore();
    const buildId = await publishDisk(store);
    const before = await digests(store.root);
    {
      await using rootfs = await openRootfs(store, buildId, { writable: true });
      await using attachment = await attach(rootfs.device);
      const folder = await mount(attachment.path);
      expect(await readFile(path.join(folder, 'file'), 'utf8')).toBe('first');
      await writeFile(path.join(folder, 'file'), 'second', { flush: true });
      await writeFile(path.join(folder, 'more'), randomBytes(16 * MIB), { flush: true });
      await unmount(folder);
      await execa('blkdiscard', ['-f', attachment.path]);
    }
    expect(await digests(store.root)).toEqual(before);
    await using rootfs = await openRootfs(store, buildId);
    await using attachment = await attach(rootfs.device);
    const folder = await mount(attachment.path, 'ro');
    expect(await readFile(path.join(folder, 'file'), 'utf8')).toBe('first');
    await unmount(folder);
  });
});

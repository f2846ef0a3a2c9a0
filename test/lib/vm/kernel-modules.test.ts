import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { orderModules, parseDependencies, readModules } from '../../../lib/vm/kernel-modules.js';
import { makeScratch } from '../../helpers/temporary.js';

const DEPENDENCIES = `kernel/drivers/virtio/virtio_mmio.ko: kernel/drivers/virtio/virtio.ko kernel/drivers/virtio/virtio_ring.ko
kernel/drivers/virtio/virtio.ko: kernel/drivers/virtio/virtio_ring.ko
kernel/drivers/virtio/virtio_ring.ko:
kernel/fs/ext4/ext4.ko.gz: kernel/fs/jbd2/jbd2.ko.xz kernel/fs/mbcache.ko kernel/lib/crc16.ko
kernel/fs/jbd2/jbd2.ko.xz:
kernel/fs/mbcache.ko:
kernel/lib/crc16.ko:
kernel/drivers/char/hw_random/virtio-rng.ko: kernel/drivers/virtio/virtio.ko kernel/drivers/virtio/virtio_ring.ko
`;

test('parseDependencies takes "-" for "_" and any compression', () => {
  const dependencies = parseDependencies(DEPENDENCIES);
  expect(dependencies.get('virtio_rng')).toEqual({
    file: 'kernel/drivers/char/hw_random/virtio-rng.ko',
    needs: ['virtio', 'virtio_ring'],
  });
  expect(dependencies.get('ext4')?.needs).toEqual(['jbd2', 'mbcache', 'crc16']);
});

test('orderModules puts every module behind what it needs, once, and leaves out what is not there', () => {
  const dependencies = parseDependencies(DEPENDENCIES);
  const ordered = orderModules(['virtio_rng', 'ext4', 'nothing', 'virtio_mmio'], dependencies);
  for (const [index, name] of ordered.entries()) {
    for (const need of dependencies.get(name)?.needs ?? []) {
      expect(ordered.indexOf(need)).toBeLessThan(index);
      expect(ordered).toContain(need);
    }
  }
  expect(new Set(ordered).size).toBe(ordered.length);
  expect(ordered).not.toContain('nothing');
});

test('orderModules ends on a circle', () => {
  const circle = parseDependencies('a.ko: b.ko\nb.ko: a.ko\n');
  expect(orderModules(['a'], circle).sort()).toEqual(['a', 'b']);
});

async function makeModules(dependencies: string, builtin: string): Promise<string> {
  const folder = await makeScratch();
  await writeFile(path.join(folder, 'modules.dep'), dependencies);
  await writeFile(path.join(folder, 'modules.builtin'), builtin);
  for (const { file } of parseDependencies(dependencies).values()) {
    const target = path.join(folder, file);
    await mkdir(path.dirname(target), { recursive: true });
    const content = Buffer.from(`content of ${path.basename(file)}`);
    if (file.endsWith('.xz')) {
      await writeFile(target, (await execa('xz', ['-c'], { input: content, encoding: 'buffer' })).stdout);
    } else {
      await writeFile(target, file.endsWith('.gz') ? gzipSync(content) : content);
    }
  }
  return folder;
}

test('readModules unpacks what is wanted, with what that needs, and leaves out what is built in', async () => {
  const folder = await makeModules(
    DEPENDENCIES,
    'kernel/drivers/block/virtio_blk.ko\nkernel/drivers/char/virtio_console.ko\n',
  );
  const modules = await readModules(folder);
  expect(modules.map(({ name, content }) => [name, content.toString()])).toEqual([
    ['virtio_ring', 'content of virtio_ring.ko'],
    ['virtio', 'content of virtio.ko'],
    ['virtio_mmio', 'content of virtio_mmio.ko'],
    ['jbd2', 'content of jbd2.ko.xz'],
    ['mbcache', 'content of mbcache.ko'],
    ['crc16', 'content of crc16.ko'],
    ['ext4', 'content of ext4.ko.gz'],
    ['virtio_rng', 'content of virtio-rng.ko'],
  ]);
});

test('readModules names the module without which no guest boots', async () => {
  const folder = await makeModules(DEPENDENCIES, 'kernel/drivers/char/virtio_console.ko\n');
  await expect(readModules(folder)).rejects.toMatchObject({
    code: 'UNSUPPORTED',
    message: expect.stringContaining('virtio_blk'),
  });
});

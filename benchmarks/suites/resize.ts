/**
 * What another disk size for a template costs: 1 → 10 GiB for the Debian image of the demo.
 *
 * Measures: rootloom's resizeRootfs (open the chain, overlay, resize in place, seal, publish with every fsync), and the resize
 * alone inside it; beside e2fsck + resize2fs + e2fsck of the distribution on a raw copy of the same disk, and the way it was
 * done before: a new filesystem, loop mounts, rsync of every file, shrink, grow, check. Needs root and the kernel's loop driver.
 * Does not measure: transfers to or from a remote store, and booting.
 */
import { mkdir, rm, stat, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import { copyDeviceToFile, ext4, openRootfs, openStore, resizeRootfs, type Store } from '../../lib/index.js';
import { ensureDebianImage } from '../../scripts/fixtures/debian-image.js';
import { buildBase } from '../../test/helpers/base-build.js';
import type { Benchmark } from '../harness/bench.js';
import type { Sample } from '../harness/point.js';

const GIB = 1024 ** 3;

/** Runs a program of e2fsprogs; e2fsck's exit code 1 means that it corrected something. */
async function run(command: string, ...args: string[]): Promise<void> {
  const { exitCode, stderr } = await execa(command, args, { reject: false });
  if (exitCode !== 0 && !(command === 'e2fsck' && exitCode === 1))
    throw new Error(`${command} exited with ${exitCode}: ${stderr}`);
}

async function resizeHere(store: Store, source: string): Promise<Sample> {
  const started = performance.now();
  const { buildId, diffBytes } = await resizeRootfs(store, source, { disk: { size: 10 * GIB } });
  const milliseconds = performance.now() - started;
  await using rootfs = await openRootfs(store, buildId);
  if ((await rootfs.stats()).sizeBytes !== 10 * GIB) throw new Error('The disk has not the size asked for');
  return { value: milliseconds, newBytes: diffBytes };
}

async function resizeEngineAlone(store: Store, source: string): Promise<Sample> {
  await using rootfs = await openRootfs(store, source, { writable: true });
  const overlay = rootfs.device as import('../../lib/index.js').OverlayDevice;
  await overlay.resize(10 * GIB);
  const started = performance.now();
  const { io } = await ext4.resize(overlay, { size: 10 * GIB });
  return { value: performance.now() - started, newBytes: io.blocksWritten * 4096 };
}

async function touch(file: string): Promise<string> {
  await writeFile(file, '');
  return file;
}

async function resizeWithStockTools(raw: string, folder: string): Promise<Sample> {
  const copy = path.join(folder, 'copy.img');
  await run('cp', '--sparse=always', raw, copy);
  const started = performance.now();
  await truncate(copy, 10 * GIB);
  await run('e2fsck', '-fy', copy);
  await run('resize2fs', copy);
  await run('e2fsck', '-fn', copy);
  const milliseconds = performance.now() - started;
  const { blocks } = await stat(copy);
  await rm(copy);
  return { value: milliseconds, newBytes: blocks * 512 };
}

/** The way that a template got another disk size before: a new filesystem, every file copied, shrunk, grown, checked. */
async function copyEveryFile(raw: string, folder: string): Promise<Sample> {
  const image = path.join(folder, 'new.img');
  const [from, to] = [path.join(folder, 'from'), path.join(folder, 'to')];
  await mkdir(from, { recursive: true });
  await mkdir(to, { recursive: true });
  const started = performance.now();
  await truncate(await touch(image), 10 * GIB);
  await run('mke2fs', '-q', '-t', 'ext4', '-b', '4096', '-m', '0', image);
  await run('mount', '-o', 'loop,ro,noload', raw, from);
  try {
    await run('mount', '-o', 'loop', image, to);
    try {
      await run('rsync', '-aHAX', '--numeric-ids', '--sparse', `${from}/`, `${to}/`);
    } finally {
      await run('umount', to);
    }
  } finally {
    await run('umount', from);
  }
  await run('e2fsck', '-fy', image);
  await run('resize2fs', '-M', image);
  await run('resize2fs', image, '10G');
  await run('e2fsck', '-fn', image);
  const milliseconds = performance.now() - started;
  const { blocks } = await stat(image);
  await rm(image);
  return { value: milliseconds, newBytes: blocks * 512 };
}

const WHOLE_CALL = 'rootloom: new template disk';

export const benchmark: Benchmark = {
  title: 'Another disk size for a template: Debian 12 with 19,650 files, 1 → 10 GiB',
  async run(bench) {
    const { folder, cleaner } = bench;
    await bench.version('stock e2fsprogs', 'mke2fs', '-V');
    await bench.version('rsync', 'rsync', '--version');
    const { reference } = await ensureDebianImage();
    const store = cleaner.use('the store', await openStore(path.join(folder, 'store')));
    const { build } = await buildBase({ store, reference, disk: { size: GIB } });
    const raw = path.join(folder, 'source.img');
    {
      await using rootfs = await openRootfs(store, build.id);
      await copyDeviceToFile(rootfs.device, raw);
    }
    const stockTools = 'e2fsck + resize2fs + e2fsck';
    const everyFile = 'mke2fs + rsync + e2fsck + resize2fs -M + resize2fs + e2fsck';
    await bench.point({
      name: '1 → 10 GiB',
      unit: 'ms',
      reference: WHOLE_CALL,
      peers: {
        [WHOLE_CALL]: () => resizeHere(store, build.id),
        'rootloom: the resize alone': () => resizeEngineAlone(store, build.id),
        [stockTools]: () => resizeWithStockTools(raw, folder),
        [everyFile]: () => copyEveryFile(raw, folder),
      },
      goals: [
        { peer: WHOLE_CALL, of: stockTools, limit: 1 / 5 },
        { peer: WHOLE_CALL, of: everyFile, limit: 1 / 100 },
      ],
    });
  },
};

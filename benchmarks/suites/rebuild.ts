/**
 * What a new filesystem for an old disk costs: 100,000 files of 777 MB, 4 → 2 GiB.
 *
 * Measures: rootloom's resizeRootfs by the strategies `rebuild` and `copy` (open the chain, make the new filesystem, seal, publish
 * with every fsync), beside `mke2fs -d`, which makes a filesystem from a folder of the host with the same files, and beside mke2fs,
 * two loop mounts and rsync, which needs root and the kernel's loop driver. Both end with an fsync of the image.
 * Does not measure: transfers to or from a remote store, and cold caches: all peers find their source in memory.
 */
import { mkdir, open, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import { openRootfs, openStore, resizeRootfs, type Store } from '../../lib/index.js';
import { publishImage } from '../../test/helpers/image-build.js';
import type { Benchmark } from '../harness/bench.js';
import type { Sample } from '../harness/point.js';

const MIB = 1024 ** 2;
const GIB = 1024 ** 3;
const NEW_SIZE = 2 * GIB;
const FILES_IN_FOLDER = 100;
const INODE_BYTES = 256;
const BLOCK_BYTES = 4096;

interface Content {
  files: number;
  bytes: number;
}

async function run(command: string, ...args: string[]): Promise<void> {
  const { exitCode, stderr } = await execa(command, args, { reject: false });
  if (exitCode !== 0) throw new Error(`${command} exited with ${exitCode}: ${stderr}`);
}

/** Sizes as in a system: most files are small, a few large. They add up to `bytes`. */
function sizesOf({ files, bytes }: Content): number[] {
  // Numerical Recipes' generator, for the same sizes on every machine.
  let state = 1;
  const shares = Array.from({ length: files }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.exp((state / 2 ** 32) * 6);
  });
  const sum = shares.reduce((total, share) => total + share, 0);
  return shares.map((share) => Math.floor((share / sum) * bytes));
}

async function writeContent(folder: string, content: Content): Promise<number> {
  const sizes = sizesOf(content);
  const noise = Buffer.alloc(Math.max(...sizes) + content.files);
  for (let at = 0; at < noise.length; at += 1) noise[at] = 1 + ((at * 2_654_435_761) % 255);
  for (let first = 0; first < sizes.length; first += FILES_IN_FOLDER) {
    const sub = path.join(folder, `folder-${first / FILES_IN_FOLDER}`);
    await mkdir(sub, { recursive: true });
    await Promise.all(
      sizes
        .slice(first, first + FILES_IN_FOLDER)
        .map((size, i) => writeFile(path.join(sub, `file-${first + i}.data`), noise.subarray(i, i + size))),
    );
  }
  return sizes.reduce((total, size) => total + size, 0);
}

async function measureImage(image: string, make: () => Promise<void>): Promise<Sample> {
  const started = performance.now();
  await make();
  const file = await open(image);
  await file.sync();
  await file.close();
  const value = performance.now() - started;
  const { blocks } = await stat(image);
  await rm(image);
  return { value, newBytes: blocks * 512 };
}

async function makeImage(image: string, size: number, ...more: string[]): Promise<void> {
  await run('mke2fs', '-q', '-t', 'ext4', '-b', '4096', '-m', '0', ...more, image, `${size / 1024}k`);
}

function copyWithRsync(raw: string, folder: string): Promise<Sample> {
  const image = path.join(folder, 'rsync.img');
  const [from, to] = [path.join(folder, 'from'), path.join(folder, 'to')];
  return measureImage(image, async () => {
    await mkdir(from, { recursive: true });
    await mkdir(to, { recursive: true });
    await makeImage(image, NEW_SIZE);
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
  });
}

async function remake(
  store: Store,
  source: string,
  strategy: 'rebuild' | 'copy',
  files: number,
): Promise<Sample> {
  const started = performance.now();
  const made = await resizeRootfs(store, source, { disk: { size: NEW_SIZE }, strategy });
  const value = performance.now() - started;
  if (made.newSize !== NEW_SIZE) throw new Error('The disk has not the size asked for');
  await using rootfs = await openRootfs(store, made.buildId);
  const { inodeCount, freeInodeCount } = await rootfs.stats();
  if (inodeCount - freeInodeCount < files) throw new Error('Files are missing');
  return { value, newBytes: made.diffBytes };
}

const REBUILD = 'rootloom: rebuild';
const COPY = 'rootloom: copy';

export const benchmark: Benchmark = {
  title: 'A new filesystem for an old disk: 100,000 files of 777 MB, 4 → 2 GiB',
  async run(bench) {
    const { folder, cleaner, quick } = bench;
    await bench.version('stock e2fsprogs', 'mke2fs', '-V');
    await bench.version('rsync', 'rsync', '--version');
    const content: Content = quick
      ? { files: 1000, bytes: 7_770_000 }
      : { files: 100_000, bytes: 777_000_000 };
    const files = path.join(folder, 'files');
    const bytes = await writeContent(files, content);
    const raw = path.join(folder, 'source.img');
    await makeImage(raw, 4 * GIB, '-d', files);
    const store = cleaner.use('the store', await openStore(path.join(folder, 'store')));
    const foreign = await publishImage(store, raw);
    // A disk of our own making, which is known to be sound.
    const { buildId } = await resizeRootfs(store, foreign.id, { disk: { size: 4 * GIB }, strategy: 'copy' });
    const stockImage = path.join(folder, 'stock.img');
    const { peers } = await bench.point({
      name: `${content.files} files`,
      unit: 'ms',
      reference: REBUILD,
      peers: {
        [REBUILD]: () => remake(store, buildId, 'rebuild', content.files),
        [COPY]: () => remake(store, buildId, 'copy', content.files),
        'mke2fs -d': () => measureImage(stockImage, () => makeImage(stockImage, NEW_SIZE, '-d', files)),
        'mke2fs + loop mounts + rsync': () => copyWithRsync(raw, folder),
      },
      goals: [
        { peer: REBUILD, limit: 1500 },
        { peer: COPY, limit: 2000 },
      ],
    });
    const stored = peers.find(({ peer }) => peer === REBUILD)?.newBytes ?? 0;
    const percent = (part: number) => ((part / bytes) * 100).toFixed(2);
    bench.note(
      `The rebuild's new data is ${(stored / MIB).toFixed(1)} MiB, ${percent(stored)} % of the content's bytes; wanted 3 %. ` +
        `An inode of 256 bytes for each file and folder alone is ${percent(INODE_BYTES * (content.files + content.files / FILES_IN_FOLDER))} %, ` +
        `a block for each folder ${percent((BLOCK_BYTES * content.files) / FILES_IN_FOLDER)} %.`,
    );
  },
};

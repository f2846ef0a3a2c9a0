/**
 * What resizing itself costs, apart from opening, sealing and publishing builds: time, distinct blocks of 4 KiB and chunks of 64 KiB
 * read and written, memory, and how soon an abort is answered.
 *
 * Measures: `ext4.resize` inside this process, as for a disk that is known to be our own, on an overlay over a disk that is in memory or in the page cache, with the check that follows a shrink.
 * Peak memory is that of a process of its own that does nothing else, Node included.
 * Does not measure: a store, a chain of diffs, durability. Has no peers: the other benchmark, resize, has them.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import {
  createFaultyDevice,
  createOverlay,
  createZeroDevice,
  type Device,
  ext4,
  type OverlayDevice,
  openTree,
} from '../../lib/index.js';
import type { ResizeReport } from '../../lib/native/ext4-types.js';
import type { Bench, Benchmark } from '../harness/bench.js';
import type { Goal, Sample, Unit } from '../harness/point.js';

const MIB = 1024 ** 2;
const GIB = 1024 ** 3;
const IDENTITY = {
  uuid: '3f0c5b1e-9a53-8c44-9d11-6a2b7c8d9e0f',
  hashSeed: '3f0c5b1e-9a53-8c44-9d11-6a2b7c8d9e0f',
  time: 1,
};
const FILES_IN_FOLDER = 200;
const MEAN_FILE_BYTES = 7770;

let overlays = 0;

function overlayOver(bench: Bench, base: Device, size: number): Promise<OverlayDevice> {
  overlays += 1;
  return createOverlay(base, { upperPath: path.join(bench.folder, `upper-${overlays}`), size });
}

/** A disk of zeros with our profile, and the files of a tar archive where there is one. It takes no more changes. */
async function makeDisk(bench: Bench, size: number, tar?: string): Promise<OverlayDevice> {
  await using zeros = createZeroDevice({ size });
  const disk = bench.cleaner.use('a disk', await overlayOver(bench, zeros, size));
  await ext4.mkfs(disk, IDENTITY);
  if (tar !== undefined) {
    await using tree = await openTree(disk, { writable: true, isolation: 'none' });
    await tree.applyLayer(tar);
  }
  await disk.freeze();
  return disk;
}

/** So many files of 0 to 15 KiB, 777 MB for 100,000 of them. */
async function makeArchive(folder: string, files: number): Promise<string> {
  const root = path.join(folder, 'files');
  for (let first = 0; first < files; first += FILES_IN_FOLDER) {
    const sub = path.join(root, `folder-${first / FILES_IN_FOLDER}`);
    await mkdir(sub, { recursive: true });
    for (let index = first; index < Math.min(first + FILES_IN_FOLDER, files); index += 1) {
      await writeFile(
        path.join(sub, `file-${index}`),
        Buffer.alloc((index * 7919) % (2 * MEAN_FILE_BYTES), 'content '),
      );
    }
  }
  const tar = path.join(folder, 'files.tar');
  await execa('tar', ['--create', '--file', tar, '--directory', root, '.']);
  return tar;
}

interface Case {
  name: string;
  disk: OverlayDevice;
  size: number;
  /** The most that each measure may be. */
  limits: Partial<Record<keyof typeof MEASURES, number>>;
}

/** Every measure is a point of its own, for each has its own unit. */
const MEASURES: Record<string, { unit: Unit; of: (report: ResizeReport, milliseconds: number) => number }> = {
  time: { unit: 'ms', of: (_, milliseconds) => milliseconds },
  'blocks of 4 KiB read': { unit: 'blocks', of: ({ io }) => io.blocksRead },
  'chunks of 64 KiB read': { unit: 'blocks', of: ({ io }) => io.chunksRead },
  written: { unit: 'MiB', of: ({ io }) => io.writtenBytes / MIB },
};

async function resizeOnce(
  bench: Bench,
  { disk, size }: Case,
  measure: keyof typeof MEASURES,
): Promise<Sample> {
  await using overlay = await overlayOver(bench, disk, Math.max(size, disk.size));
  const started = performance.now();
  const report = await ext4.resize(overlay, { size }, { isolation: 'none', scratchFolder: bench.folder });
  const milliseconds = performance.now() - started;
  if (report.newSize !== size) throw new Error('The filesystem has not the size asked for');
  return { value: MEASURES[measure]?.of(report, milliseconds) ?? 0, newBytes: overlay.dirtyBytes() };
}

async function measureCase(bench: Bench, each: Case): Promise<void> {
  for (const [measure, { unit }] of Object.entries(MEASURES)) {
    const peer = 'rootloom';
    const limit = each.limits[measure];
    const goals: Goal[] = limit === undefined ? [] : [{ peer, limit }];
    const peers = { [peer]: () => resizeOnce(bench, each, measure) };
    await bench.point({ name: `${each.name}: ${measure}`, unit, reference: peer, peers, goals });
  }
}

/** How long an abort takes to be answered while one operation of the disk hangs. */
async function abortStuck(
  bench: Bench,
  disk: OverlayDevice,
  operation: 'read' | 'write',
  skip: number,
): Promise<Sample> {
  await using overlay = await overlayOver(bench, disk, 100 * GIB);
  await using stuck = createFaultyDevice(overlay, { faults: [{ operation, skip, count: 1, delayMs: 400 }] });
  const controller = new AbortController();
  const call = ext4.resize(stuck, { size: 100 * GIB }, { isolation: 'none', signal: controller.signal });
  const ended = call.then(
    () => 'done',
    (error) => error,
  );
  while (stuck.hitCount() === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  const started = performance.now();
  const reason = new Error('enough');
  controller.abort(reason);
  if ((await ended) !== reason) throw new Error('The call did not end by its signal');
  return { value: performance.now() - started };
}

/** The peak of a process that resizes, in MiB. */
async function peakMemory(bench: Bench, from: number, to: number): Promise<Sample> {
  const child = fileURLToPath(new URL('../children/resize-memory.ts', import.meta.url));
  const args = ['--import', 'tsx', child, String(from), String(to), bench.folder];
  const { stdout } = await execa(process.execPath, args);
  return { value: Number(stdout) / MIB };
}

export const benchmark: Benchmark = {
  title: 'Resizing a filesystem: what it reads, writes and takes',
  async run(bench) {
    const { quick } = bench;
    const files = quick ? 2000 : 100_000;
    const tar = await makeArchive(bench.folder, files);
    const empty = await makeDisk(bench, GIB);
    await measureCase(bench, {
      name: '1 → 100 GiB, our profile, empty',
      disk: empty,
      size: 100 * GIB,
      limits: { time: 15, 'blocks of 4 KiB read': 8, written: 1.6 },
    });
    await measureCase(bench, {
      name: `4 → 64 GiB, ${files} files`,
      disk: await makeDisk(bench, 4 * GIB, tar),
      size: 64 * GIB,
      limits: { time: 100, 'blocks of 4 KiB read': 32, 'chunks of 64 KiB read': 6 },
    });
    await measureCase(bench, {
      name: `64 → 2 GiB, ${files} files, result checked`,
      disk: await makeDisk(bench, 64 * GIB, tar),
      size: 2 * GIB,
      limits: { time: 300 },
    });
    const [reading, writing] = ['stuck reading', 'stuck writing'];
    await bench.point({
      name: 'an abort is answered while the disk hangs for 400 ms',
      unit: 'ms',
      reference: reading,
      peers: {
        [reading]: () => abortStuck(bench, empty, 'read', 3),
        [writing]: () => abortStuck(bench, empty, 'write', 20),
      },
      goals: [reading, writing].map((peer) => ({ peer, limit: 50 })),
    });
    const [grow, shrink] = ['grow 1 GiB → 1 TiB', 'shrink 1 TiB → 1 GiB, result checked'];
    await bench.point({
      name: 'peak memory of a process',
      unit: 'MiB',
      reference: grow,
      peers: {
        [grow]: () => peakMemory(bench, GIB, 1024 * GIB),
        [shrink]: () => peakMemory(bench, 1024 * GIB, GIB),
      },
      goals: [grow, shrink].map((peer) => ({ peer, limit: 256 })),
    });
  },
};

/**
 * Chains of diffs: finding where a page is stored, loading headers, opening deep chains, and reading them.
 *
 * Measures, natively and in one thread: look-ups of random pages in an index (the best of 40 passes), beside a binary search of the
 * bare column; from a header's bytes to an open chain; from a header file to the first block of a chain; random reads of 4 KiB of the same
 * 256 MiB in chains of several depths, also over NBD, where what was read before is lent (see docs/nbd.md); and pread beside a mapping
 * of one file. And what a Node process takes that serves such a chain. Everything is in the page cache. Does not measure: disks, compressed
 * diffs.
 */
import { truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { encodeHeader, serve } from '../../lib/index.js';
import type { Bench, Benchmark } from '../harness/bench.js';
import { type ChainMeasure, measureNatively, openSampleChain } from '../harness/chain.js';
import { type NbdServer, readLean } from '../harness/nbd.js';
import type { Sample } from '../harness/point.js';
import { buildPrograms } from '../harness/programs.js';

const MIB = 1024 ** 2;
const BUILDS = ['11111111-2222-4333-8444-555555555555', 'aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee'] as const;

function peersOf(
  bench: Bench,
  measures: Record<string, ChainMeasure>,
): Record<string, () => Promise<Sample>> {
  return Object.fromEntries(
    Object.entries(measures).map(([name, measure]) => [name, () => measureNatively(bench, measure)]),
  );
}

/** A header of `count` extents of a mebibyte each, and the sparse diff behind it. */
async function makeLargeChain(bench: Bench, count: number): Promise<{ header: string; diff: string }> {
  const [header, diff] = [path.join(bench.folder, 'large.header'), path.join(bench.folder, 'large.diff')];
  const mappings = Array.from({ length: count }, (_, index) => ({
    ...{ offset: index * MIB, length: MIB, storageOffset: ((index * 7919) % count) * MIB },
    buildId: BUILDS[index % 2] as string,
  }));
  const builds = BUILDS.map((buildId) => ({
    ...{ buildId, size: null, sha256: null, compression: 'none' as const, frames: [] },
  }));
  const [buildId, baseBuildId] = BUILDS;
  const shape = { version: 5, blockSize: 4096, size: count * MIB, generation: 1, incomplete: false };
  await writeFile(header, encodeHeader({ ...shape, buildId, baseBuildId, mappings, builds }));
  await writeFile(diff, '');
  await truncate(diff, count * MIB);
  return { header, diff };
}

async function measureMemory(bench: Bench, extents: number): Promise<void> {
  const { header, diff } = await makeLargeChain(bench, extents);
  const child = fileURLToPath(new URL('../children/chain-memory.ts', import.meta.url));
  const peer = `overlay over ${extents} extents, 4 clients`;
  await bench.point({
    name: 'memory taken while serving 1 MiB an extent, beyond what Node takes',
    unit: 'MiB',
    reference: peer,
    peers: {
      [peer]: async () => {
        const { stdout } = await execa(process.execPath, [
          '--import',
          'tsx',
          child,
          header,
          diff,
          bench.folder,
        ]);
        return { value: Number(stdout) / MIB };
      },
    },
    goals: [{ peer, limit: 128 }],
  });
}

async function measureIndex(bench: Bench): Promise<void> {
  const extents = 100_000;
  const lookups = (variant: string): ChainMeasure => ({ measure: 'lookups', variant, count: extents });
  await bench.point({
    name: `look-ups in ${extents} extents, one core`,
    unit: 'M/s',
    reference: 'binary search',
    peers: peersOf(bench, {
      'binary search': lookups('binary'),
      'tree, scalar': lookups('scalar'),
      'tree, AVX2': lookups('avx2'),
    }),
    goals: [
      { peer: 'tree, AVX2', limit: 60 },
      { peer: 'tree, scalar', limit: 25 },
    ],
  });
  const count = bench.quick ? 10_000 : 1_000_000;
  const versions = [3, 4, 5].map((version) => `version ${version}`);
  await bench.point({
    name: `from a header of ${count} extents to an open chain`,
    unit: 'ms',
    reference: 'version 3',
    peers: peersOf(
      bench,
      Object.fromEntries(
        versions.map((name) => [name, { measure: 'load', variant: name.slice('version '.length), count }]),
      ),
    ),
    goals: versions.map((peer) => ({ peer, limit: 50 })),
  });
}

async function measureDepth(bench: Bench): Promise<void> {
  const depths = Object.fromEntries([1, 64, 1000].map((depth) => [`depth ${depth}`, depth]));
  const at = (measure: string) =>
    peersOf(
      bench,
      Object.fromEntries(Object.entries(depths).map(([name, count]) => [name, { measure, count }])),
    );
  await bench.point({
    name: 'open a chain and read one block',
    unit: 'ms',
    reference: 'depth 1',
    peers: at('open'),
    goals: [{ peer: 'depth 1000', limit: 10 }],
  });
  await bench.point({
    name: '4 KiB random reads by one thread',
    unit: 'IOPS',
    reference: 'depth 1',
    peers: at('chain-reads'),
    goals: ['depth 64', 'depth 1000'].map((peer) => ({ peer, of: 'depth 1', limit: 0.95 })),
  });
  await bench.point({
    name: '4 KiB random reads of one file of 256 MiB',
    unit: 'IOPS',
    reference: 'pread',
    peers: peersOf(bench, {
      pread: { measure: 'file-reads', variant: 'pread', count: 256 },
      'a mapping': { measure: 'file-reads', variant: 'mapping', count: 256 },
    }),
  });
}

/** A chain that native measures have made, served by this process, and read once from front to back: all of it may be lent. */
async function serveSampleChain(bench: Bench, depth: number): Promise<NbdServer> {
  const chain = bench.cleaner.use(`the chain ${depth} deep`, await openSampleChain(bench, depth));
  const socketPath = path.join(bench.folder, `chain-${depth}.sock`);
  bench.cleaner.use(`its export`, await serve(chain, { socketPath }));
  const server = { socketPath, stores: false };
  await readLean(bench, server, { connections: 1, depth: 4, blockBytes: MIB, order: 'sequential' });
  return server;
}

async function measureServedDepth(bench: Bench): Promise<void> {
  const servers = new Map<string, NbdServer>();
  for (const depth of [1, 64, 1000]) servers.set(`depth ${depth}`, await serveSampleChain(bench, depth));
  for (const connections of [1, 2]) {
    const load = { connections, depth: 64, blockBytes: 4096, order: 'random' } as const;
    const read = async (server: NbdServer) => ({ value: (await readLean(bench, server, load)).iops });
    await bench.point({
      name: `4 KiB random reads over NBD, ${connections} connection${connections === 1 ? '' : 's'}`,
      unit: 'IOPS',
      reference: 'depth 1',
      peers: Object.fromEntries([...servers].map(([name, server]) => [name, () => read(server)])),
      goals: ['depth 64', 'depth 1000'].map((peer) => ({ peer, of: 'depth 1', limit: 0.95 })),
    });
  }
}

export const benchmark: Benchmark = {
  title: 'Chains of diffs: index, headers, depth, memory',
  async run(bench) {
    await buildPrograms();
    await measureIndex(bench);
    await measureDepth(bench);
    await measureServedDepth(bench);
    await measureMemory(bench, bench.quick ? 10_000 : 1024 ** 2);
  },
};

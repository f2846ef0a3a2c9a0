/**
 * Overlays under writers, cuts and seals.
 *
 * Measures: first-touch writes of 4 KiB into an overlay over a chain 64 deep, by threads that call the device, and by fio and the lean
 * client over NBD at depth 64; how long a cut takes of an overlay that is written on meanwhile; and a seal beside `cp` of the same blocks into a file, each
 * with what making it durable takes, from an upper that is stored already. A seal that stands alone also digests what it stores, that of a
 * child compares it with what its parent holds, and cp does neither. Does not measure: reading, and filesystems with
 * reflinks, where sealing takes no copy.
 */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import { createOverlay, type Device, type Export, serve } from '../../lib/index.js';
import type { Bench, Benchmark } from '../harness/bench.js';
import { measureNatively, openSampleChain } from '../harness/chain.js';
import { writeOnceLean } from '../harness/nbd.js';
import type { Sample } from '../harness/point.js';
import { buildPrograms } from '../harness/programs.js';

const DEPTH = 64;

/** Writes every block of a new overlay once, in random order, through an export of this process; `write` gives requests a second. */
async function writeServed(
  bench: Bench,
  chain: Device,
  write: (server: Export, size: number) => Promise<number>,
): Promise<Sample> {
  await using overlay = await createOverlay(chain, { upperPath: path.join(bench.folder, 'served-upper') });
  await using server = await serve(overlay, { socketPath: path.join(bench.folder, 'overlay.sock') });
  const value = await write(server, overlay.size);
  const { dataBlocks } = overlay.stats();
  if (dataBlocks !== overlay.size / overlay.blockSize) throw new Error('Not every block was written');
  await server.discard();
  return { value };
}

/** A job and a connection each. */
async function writeWithFio(bench: Bench, uri: string, size: number, jobs: number): Promise<number> {
  const share = size / jobs;
  const load = ['--ioengine=nbd', `--uri=${uri}`, '--rw=randwrite', '--bs=4k', '--iodepth=64', '--thread'];
  const parts = [`--size=${share}`, `--offset_increment=${share}`, `--numjobs=${jobs}`, '--group_reporting'];
  const report = path.join(bench.folder, 'fio.json');
  const output = ['--name=load', '--output-format=json', `--output=${report}`];
  await execa('fio', [...output, ...load, ...parts], { cwd: bench.folder });
  const text = await readFile(report, 'utf8');
  return JSON.parse(text.slice(text.indexOf('{'))).jobs[0].write.iops as number; // It talks before.
}

async function measureWrites(bench: Bench): Promise<void> {
  const native = (threads: number) => () =>
    measureNatively(bench, { measure: 'writes', variant: 'random', count: threads });
  await native(1)(); // Makes the chain.
  const chain = bench.cleaner.use('the chain', await openSampleChain(bench, DEPTH));
  const fio = (jobs: number) => () =>
    writeServed(bench, chain, ({ uri }, size) => writeWithFio(bench, uri, size, jobs));
  const lean = (connections: number) => () =>
    writeServed(bench, chain, async ({ socketPath }) => (await writeOnceLean(socketPath, connections)).iops);
  const served = ['fio over NBD, 1 connection', 'lean client over NBD, 1 connection'] as const;
  await bench.point({
    name: `4 KiB random first-touch writes, chain ${DEPTH} deep`,
    unit: 'IOPS',
    reference: served[0],
    peers: {
      [served[0]]: fio(1),
      'fio over NBD, 2 connections': fio(2),
      [served[1]]: lean(1),
      'lean client over NBD, 2 connections': lean(2),
      'the device, 1 thread': native(1),
      'the device, 2 threads': native(2),
      'the device, 4 threads': native(4),
    },
    goals: served.map((peer) => ({ peer, limit: 100_000 })),
  });
}

export const benchmark: Benchmark = {
  title: 'Overlays: writing, cutting, sealing',
  rounds: 5,
  async run(bench) {
    await buildPrograms();
    await measureWrites(bench);
    const dirtyMiB = bench.quick ? 64 : 2048;
    const cut = `cut with ${dirtyMiB} MiB dirty`;
    await bench.point({
      name: 'a cut of an overlay that is written on',
      unit: 'ms',
      reference: cut,
      peers: { [cut]: () => measureNatively(bench, { measure: 'cut', count: dirtyMiB }) },
      goals: [{ peer: cut, limit: 20 }],
    });
    const sealedMiB = bench.quick ? 16 : 512;
    const sealing = (variant: string) => () =>
      measureNatively(bench, { measure: 'seal', variant, count: sealedMiB });
    await bench.point({
      name: `${sealedMiB} MiB to a durable file`,
      unit: 'MiB/s',
      reference: 'cp and sync',
      peers: { 'cp and sync': sealing('cp'), seal: sealing('seal'), 'seal of a child': sealing('child') },
      goals: ['seal', 'seal of a child'].map((peer) => ({ peer, of: 'cp and sync', limit: 0.8 })),
    });
  },
};

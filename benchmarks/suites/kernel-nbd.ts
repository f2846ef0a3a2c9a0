/**
 * From a disk image to a block device that can be read, and back.
 *
 * Measures: `attach` of a raw image until its last block was read from /dev/nbdN, and `close`; beside nbd-client with qemu-nbd, started
 * for the purpose or found running. All inside one User-Mode Linux of Debian (one processor, driver of Linux 6.1), which needs no module of
 * this machine. Ours is a call in a running process, theirs are programs to be started, as one would.
 * Does not measure: absolute speed. System calls and page faults are many times slower there; only ratios mean something.
 *
 * The guest runs all rounds at once, peers in turn, and its first round is the warm-up; the figures are taken from what it wrote.
 */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { runInUml } from '../../test/kernel/harness/uml.js';
import type { Bench, Benchmark } from '../harness/bench.js';
import type { Sample } from '../harness/point.js';
import type { Times } from '../kernel/attach-peers.js';

const ROUNDS = 21;

type Results = Record<'rootloom' | 'newServer' | 'runningServer', Times[]>;

async function measureInside(rounds: number): Promise<Results> {
  const results = path.resolve('build/kernel/benchmark');
  const file = path.join(results, 'times.json');
  const script = [process.execPath, '--import', 'tsx', 'benchmarks/kernel/attach-peers.ts'];
  const { status, problems, output } = await runInUml({ command: [...script, `${rounds}`, file], results });
  if (status !== 0 || problems.length > 0) throw new Error([output, ...problems].join('\n'));
  return JSON.parse(await readFile(file, 'utf8')) as Results;
}

/** Gives one figure after the other. */
function replay(times: readonly Times[], part: keyof Times): () => Promise<Sample> {
  const rest = times.map((time) => time[part]);
  return async () => {
    const value = rest.shift();
    if (value === undefined) throw new RangeError('The guest ran fewer rounds than are asked for');
    return { value };
  };
}

async function run(bench: Bench): Promise<void> {
  await bench.version('qemu-nbd', 'qemu-nbd', '--version');
  await bench.version('nbd-client', 'nbd-client', '-V');
  await bench.version('User-Mode Linux', 'linux.uml', '--version');
  const { rootloom, newServer, runningServer } = await measureInside(bench.rounds);
  for (const [part, name] of [
    ['attach', 'attach, until the last block was read'],
    ['detach', 'detach'],
  ] as const) {
    await bench.point({
      name,
      unit: 'ms',
      reference: 'rootloom',
      peers: {
        rootloom: replay(rootloom, part),
        'qemu-nbd started, nbd-client': replay(newServer, part),
        'qemu-nbd running, nbd-client': replay(runningServer, part),
      },
      // They are to be slower than we are.
      goals: [
        { peer: 'rootloom', of: 'qemu-nbd started, nbd-client', limit: 1 },
        { peer: 'rootloom', of: 'qemu-nbd running, nbd-client', limit: 1 },
      ],
    });
  }
  bench.note('Inside User-Mode Linux, where system calls are slow: only the ratios mean something.');
}

export const benchmark: Benchmark = { title: 'A disk image as /dev/nbdN', rounds: ROUNDS, run };

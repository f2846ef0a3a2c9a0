/** What a benchmark file is, and what it is given. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Cleaner } from '../../lib/index.js';
import { withCleaner } from '../../lib/util/cleaner.js';
import { describeMachine, versionOf } from './machine.js';
import { measurePoint, type PointResult, type PointSpec } from './point.js';
import { formatReport, type Report, writeReport } from './report.js';
import { settle } from './settle.js';

/** A file of benchmarks/suites exports one of these as `benchmark`. */
export interface Benchmark {
  title: string;
  /** Rounds that count, after the warm-up. Default 7. */
  rounds?: number | undefined;
  run(bench: Bench): Promise<void>;
}

/** A benchmark under way. */
export interface Bench {
  /** Small inputs, one round and no warm-up: to see that it works, not to learn a figure. */
  readonly quick: boolean;
  /** How many count. */
  readonly rounds: number;
  /** A folder of its own, which goes away at the end. */
  readonly folder: string;
  /** Releases at the end what the benchmark has opened, in reverse order. */
  readonly cleaner: Cleaner;
  /** Measures a point, prints it and records it. */
  point(spec: PointSpec): Promise<PointResult>;
  /** Records the version of a peer: `version('nbdkit', 'nbdkit', '--version')`. */
  version(peer: string, command: string, ...args: string[]): Promise<void>;
  /** Records a remark that the figures need. */
  note(text: string): void;
}

const ROUNDS = 7;
const CLEANUP_MS = 120_000;

export interface RunOptions {
  quick: boolean;
  /** Instead of the benchmark's own. */
  rounds?: number | undefined;
}

/** Runs one benchmark and, unless it is a quick one, writes its report. */
export async function runBenchmark(
  name: string,
  benchmark: Benchmark,
  { quick, rounds = benchmark.rounds ?? ROUNDS }: RunOptions,
): Promise<Report> {
  const count = quick ? 1 : rounds;
  const { title } = benchmark;
  const report: Report = { name, title, machine: describeMachine(), rounds: count, points: [], notes: [] };
  await withCleaner(
    `the benchmark ${name}`,
    async (cleaner) => {
      const folder = await mkdtemp(path.join(tmpdir(), `rootloom-bench-${name}-`));
      cleaner.defer('the folder', () => rm(folder, { recursive: true, force: true }));
      await benchmark.run({
        ...{ quick, rounds: count, folder, cleaner },
        async point(spec) {
          const beforeEach = () => (quick ? Promise.resolve() : settle(folder));
          const result = await measurePoint(spec, { warmup: quick ? 0 : 1, counted: count, beforeEach });
          report.points.push(result);
          return result;
        },
        async version(peer, command, ...args) {
          report.machine[peer] = await versionOf(command, ...args);
        },
        note(text) {
          report.notes.push(text);
        },
      });
    },
    { timeoutMs: CLEANUP_MS },
  );
  console.log(formatReport(report));
  if (!quick) await writeReport(report);
  return report;
}

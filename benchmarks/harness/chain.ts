/** The program that measures native/chain and native/block from inside, without Node. */
import path from 'node:path';
import { execa } from 'execa';
import { buildWithCMake } from '../../scripts/check/stage.js';
import type { Bench } from './bench.js';
import type { Sample } from './point.js';

const BUILD_FOLDER = 'build/bench';
const PROGRAM = path.resolve(BUILD_FOLDER, 'benchmarks/native/chain_bench');

/** Builds it, when needed. */
export async function buildChainBench(): Promise<void> {
  const options = ['-DROOTLOOM_ADDON=OFF', '-DROOTLOOM_BENCHMARKS=ON'];
  if (!(await buildWithCMake(BUILD_FOLDER, options, 'chain_bench')))
    throw new Error('The programs of the benchmarks cannot be built');
}

export interface ChainMeasure {
  measure: string;
  variant?: string | undefined;
  /** Of what, benchmarks/native/chain/measures.h says. */
  count: number;
}

/** One measure in a process of its own; its files are in the benchmark's folder, and used again by the next. */
export async function measureNatively(
  bench: Bench,
  { measure, variant = '', count }: ChainMeasure,
): Promise<Sample> {
  const options = ['--measure', measure, '--variant', variant, '--count', String(count)];
  const { stdout } = await execa(PROGRAM, [...options, '--folder', bench.folder]);
  return { value: Number(stdout) };
}

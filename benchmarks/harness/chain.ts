/** The program that measures native/chain and native/block from inside, without Node. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import { type Device, openChain } from '../../lib/index.js';
import { summarizeHeader } from '../../lib/native/header.js';
import type { Bench } from './bench.js';
import type { Sample } from './point.js';
import { PROGRAMS } from './programs.js';

const PROGRAM = path.join(PROGRAMS, 'chain_bench');

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

/** The chain of that depth that native measures have made, opened in this process. */
export async function openSampleChain(bench: Bench, depth: number): Promise<Device> {
  const headerPath = path.join(bench.folder, `chain-${depth}`);
  const header = await readFile(headerPath);
  const { sources } = await summarizeHeader(header);
  const diffs = sources.map(({ buildId }) => [buildId, { path: `${headerPath}-${buildId}` }] as const);
  return await openChain({ header, diffs: Object.fromEntries(diffs) });
}

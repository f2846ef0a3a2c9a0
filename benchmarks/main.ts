/**
 * `npm run bench [-- NAME…] [--quick] [--rounds N]`: runs the benchmarks of benchmarks/suites, all or the named ones, one after the
 * other, quick ones side by side. Peers take turns inside one run. Prints each report, and unless it is a quick run writes
 * it to benchmarks/results.
 */
import { readdir } from 'node:fs/promises';
import { Command, InvalidArgumentError } from 'commander';
import { inLanes } from '../scripts/check/lanes.js';
import { type Benchmark, runBenchmark } from './harness/bench.js';

const SUITES = new URL('suites/', import.meta.url);
/** What is not measured need not be alone. */
const QUICK_LANES = 3;

interface Options {
  quick?: boolean;
  rounds?: number;
}

function parseRounds(text: string): number {
  if (/^[1-9]\d{0,3}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('Wanted a whole number from 1 to 9999.');
}

async function listSuites(): Promise<string[]> {
  const files = await readdir(SUITES);
  return files
    .filter((file) => file.endsWith('.ts'))
    .map((file) => file.slice(0, -'.ts'.length))
    .sort();
}

async function loadSuite(name: string): Promise<Benchmark> {
  const { benchmark } = (await import(new URL(`${name}.ts`, SUITES).href)) as { benchmark: Benchmark };
  return benchmark;
}

const known = await listSuites();
await new Command('bench')
  .description('measures rootloom beside its peers')
  .argument('[name...]', `what to run: ${known.join(', ')}; default all`)
  .option('--quick', 'small and once, to see that it works; nothing is written')
  .option('--rounds <count>', 'rounds that count, after a warm-up', parseRounds)
  .action(async (names: string[], { quick = false, rounds }: Options, command: Command) => {
    const unknown = names.filter((name) => !known.includes(name));
    if (unknown.length > 0) command.error(`Cannot run ${unknown.join(', ')}: there are ${known.join(', ')}`);
    await inLanes(names.length > 0 ? names : known, quick ? QUICK_LANES : 1, async (name) => {
      await runBenchmark(name, await loadSuite(name), { quick, rounds });
    });
  })
  .parseAsync();

/** Runs peers in turn inside one run, and writes what was measured together with where. */
import { writeFile } from 'node:fs/promises';
import { cpus, release, totalmem } from 'node:os';
import { execa } from 'execa';
import { ext4, formatByteSize, packageVersion } from '../lib/index.js';

export interface Sample {
  milliseconds: number;
  /** Bytes that the run added to what must be stored. */
  newBytes: number;
}

export type Results = Record<string, Sample[]>;

/** A B C, A B C, …: every peer sees the same warm caches and the same neighbours. The first round is thrown away. */
export async function measure(
  rounds: number,
  peers: Record<string, () => Promise<Sample>>,
): Promise<Results> {
  const results: Results = Object.fromEntries(Object.keys(peers).map((name) => [name, []]));
  for (let round = 0; round <= rounds; round += 1) {
    for (const [name, run] of Object.entries(peers)) {
      const sample = await run();
      if (round > 0) results[name]?.push(sample);
    }
  }
  return results;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] as number;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] as number)) / 2;
}

async function describeMachine(): Promise<Record<string, string>> {
  const { stderr } = await execa('mke2fs', ['-V']);
  return {
    date: new Date().toISOString().slice(0, 10),
    processor: `${cpus()[0]?.model ?? 'unknown'}, ${cpus().length} cores`,
    memory: formatByteSize(totalmem()),
    kernel: release(),
    node: process.version,
    rootloom: `${packageVersion}, e2fsprogs ${ext4.engineVersion} inside`,
    'stock e2fsprogs': stderr.split('\n')[0] ?? 'unknown',
  };
}

/** Prints a table and writes NAME.md and NAME.json; ratios are to `reference`. */
export async function writeResult(
  name: string,
  title: string,
  reference: string,
  results: Results,
): Promise<void> {
  const machine = await describeMachine();
  const base = median((results[reference] as Sample[]).map(({ milliseconds }) => milliseconds));
  const rows = Object.entries(results).map(([peer, samples]) => {
    const times = samples.map(({ milliseconds }) => milliseconds);
    const time = median(times);
    const newBytes = median(samples.map((sample) => sample.newBytes));
    return { peer, time, least: Math.min(...times), most: Math.max(...times), ratio: time / base, newBytes };
  });
  const table = [
    '| what | median | least – most | ratio | new data |',
    '|---|---|---|---|---|',
    ...rows.map(
      ({ peer, time, least, most, ratio, newBytes }) =>
        `| ${peer} | ${time.toFixed(1)} ms | ${least.toFixed(1)} – ${most.toFixed(1)} ms | ${ratio.toFixed(2)}× | ${formatByteSize(newBytes)} |`,
    ),
  ].join('\n');
  const facts = Object.entries(machine)
    .map(([key, value]) => `- ${key}: ${value}`)
    .join('\n');
  const rounds = results[reference]?.length ?? 0;
  const text = `# ${title}\n\n\`npm run bench\`, ${rounds} rounds after a warm-up, peers in turn.\n\n${table}\n\n${facts}\n`;
  console.log(text);
  if (process.argv.includes('--quick')) return;
  await writeFile(`benchmarks/results/${name}.md`, text);
  await writeFile(
    `benchmarks/results/${name}.json`,
    `${JSON.stringify({ title, machine, results }, null, 2)}\n`,
  );
}

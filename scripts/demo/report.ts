/** What the demo prints. */
import Table from 'cli-table3';
import { formatByteSize, type TemplateResult, type TreeDifference } from '../../lib/index.js';
import type { Comparison, Inside, StockVerdict } from './checks.js';

/** One row of the demo's table. */
export interface Step {
  name: string;
  durationMs: number;
  storedBytes?: number;
  cached?: boolean;
}

export interface DemoResult {
  first: TemplateResult;
  second: TemplateResult;
  steps: readonly Step[];
  inside: Inside;
  check: { first: StockVerdict; second: StockVerdict };
  comparison: Comparison;
}

const started = performance.now();

/** Prints a line behind the seconds since the start. */
export function say(line: string): void {
  console.log(`${((performance.now() - started) / 1000).toFixed(1).padStart(7)}  ${line}`);
}

function formatSteps(steps: readonly Step[]): string {
  const table = new Table({ head: ['step', 'time', 'stored'], style: { head: [], border: [] } });
  for (const { name, durationMs, storedBytes, cached } of steps) {
    const time = durationMs < 1000 ? `${durationMs.toFixed(0)} ms` : `${(durationMs / 1000).toFixed(1)} s`;
    const stored = storedBytes === undefined ? '' : formatByteSize(storedBytes);
    table.push([name, time, cached ? 'cached' : stored]);
  }
  return table.toString();
}

function formatDifferences(differences: readonly TreeDifference[], most: number): string[] {
  const lines = differences.slice(0, most).map(({ path, what }) => `    ${path} (${what.join(', ')})`);
  return differences.length > most ? [...lines, `    … and ${differences.length - most} more`] : lines;
}

/** Prints everything; false when something is not as it must be. */
export function printReport({ first, second, steps, inside, check, comparison }: DemoResult): boolean {
  const unexpected = comparison.byResize.filter(({ path }) => !comparison.provisioning.has(path));
  const facts: [string, boolean][] = [
    [
      `the sandbox sees a filesystem of ${formatByteSize(inside.filesystemBytes)}`,
      inside.filesystemBytes > 3.5 * 1024 ** 3,
    ],
    [`systemctl is-system-running: ${inside.systemState}`, inside.systemState === 'running'],
    [
      `e2fsck -fn of the 1 GiB disk: exit ${check.first.exitCode}; ${check.first.lastLine}`,
      check.first.exitCode === 0,
    ],
    [
      `e2fsck -fn of the 4 GiB disk: exit ${check.second.exitCode}; ${check.second.lastLine}`,
      check.second.exitCode === 0,
    ],
    [
      `files that the resize changed: ${unexpected.length} (and ${comparison.byResize.length - unexpected.length} of provisioning)`,
      unexpected.length === 0,
    ],
  ];
  console.log(`\n${inside.df}\n\n${inside.osRelease}\n`);
  console.log(formatSteps(steps));
  console.log(`\ntemplates: ${first.buildId} (1 GiB), ${second.buildId} (4 GiB)`);
  for (const [text, isGood] of facts) console.log(`${isGood ? 'ok  ' : 'BAD '} ${text}`);
  for (const line of formatDifferences(unexpected, 20)) console.log(line);
  console.log(
    `      between the finished templates ${comparison.byBooting.length} files differ, by booting twice:`,
  );
  for (const line of formatDifferences(comparison.byBooting, 12)) console.log(line);
  const cached = [...first.phases, ...second.phases].filter((phase) => phase.cached).length;
  console.log(`      ${cached} of ${first.phases.length + second.phases.length} layers came from the cache`);
  return facts.every(([, isGood]) => isGood);
}

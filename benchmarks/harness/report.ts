/** What a benchmark leaves: a page, its data, and charts. */
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { formatByteSize } from '../../lib/index.js';
import { drawCharts } from './chart.js';
import { type GoalVerdict, isMoreBetter, type PeerResult, type PointResult, type Unit } from './point.js';

export const RESULTS = 'benchmarks/results';

export interface Report {
  name: string;
  title: string;
  machine: Record<string, string>;
  rounds: number;
  points: PointResult[];
  /** What the figures alone do not tell. */
  notes: string[];
}

export function formatValue(value: number, unit: Unit): string {
  const digits = value >= 1000 ? 0 : value >= 10 ? 1 : 2;
  return `${value.toLocaleString('en-US', { maximumFractionDigits: digits, minimumFractionDigits: digits })} ${unit}`;
}

/** Ratios may be far below one. */
function formatRatio(ratio: number): string {
  return `${ratio >= 0.1 ? ratio.toFixed(2) : ratio.toPrecision(2)}×`;
}

function peerRow({ peer, median, least, most, ratio, newBytes }: PeerResult, unit: Unit): string {
  const range = `${formatValue(least, unit)} – ${formatValue(most, unit)}`;
  const stored = newBytes === undefined ? '' : formatByteSize(newBytes);
  return `| ${peer} | ${formatValue(median, unit)} | ${range} | ${formatRatio(ratio)} | ${stored} |`;
}

function goalLine({ peer, of, limit, reached, isMet }: GoalVerdict, unit: Unit): string {
  const sign = isMoreBetter(unit) ? '≥' : '≤';
  const wanted = of === undefined ? formatValue(limit, unit) : `${limit}× ${of}`;
  const got = of === undefined ? formatValue(reached, unit) : formatRatio(reached);
  return `- ${isMet ? 'met' : '**missed**'}: ${peer} ${sign} ${wanted}; reached ${got}`;
}

function pointText({ name, unit, peers, goals }: PointResult): string {
  const table = [
    '| what | median | least – most | ratio | new data |',
    '|---|---|---|---|---|',
    ...peers.map((peer) => peerRow(peer, unit)),
  ].join('\n');
  const verdicts = goals.map((goal) => goalLine(goal, unit)).join('\n');
  return `## ${name}\n\n${table}\n${verdicts === '' ? '' : `\n${verdicts}\n`}`;
}

function chartFile(name: string, unit: Unit): string {
  return `${name}-${unit.replace('µ', 'u').replaceAll('/', '-per-')}.svg`;
}

/** The page, in Markdown. */
export function formatReport({ name, title, machine, rounds, points, notes }: Report): string {
  const charts = [...new Set(points.map(({ unit }) => unit))].map(
    (unit) => `![${title}, ${unit}](${chartFile(name, unit)})`,
  );
  const facts = Object.entries(machine).map(([key, value]) => `- ${key}: ${value}`);
  const parts = [
    `# ${title}`,
    `\`npm run bench -- ${name}\`, ${rounds} rounds after a warm-up, peers in turn. A ratio above 1 is a larger figure.`,
    ...points.map(pointText),
    ...notes,
    charts.join('\n'),
    facts.join('\n'),
  ];
  return `${parts.map((part) => part.trim()).join('\n\n')}\n`;
}

/** Writes NAME.md, NAME.json and a chart for each unit into benchmarks/results. */
export async function writeReport(report: Report): Promise<void> {
  const inResults = (file: string) => path.join(RESULTS, file);
  await writeFile(inResults(`${report.name}.md`), formatReport(report));
  await writeFile(inResults(`${report.name}.json`), `${JSON.stringify(report, null, 2)}\n`);
  for (const [unit, svg] of await drawCharts(report.title, report.points)) {
    await writeFile(inResults(chartFile(report.name, unit)), svg);
  }
}

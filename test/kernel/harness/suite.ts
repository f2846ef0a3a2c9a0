/** The test files of this folder: which cases there are, and what became of them in one run. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { runInUml } from './uml.js';

const TREE = fileURLToPath(new URL('../../..', import.meta.url));
const RESULTS = path.join(TREE, 'build/kernel');

/** Vite would bundle the configuration into a file beside node_modules, and the guest cannot write there. */
const VITEST = [
  'node_modules/vitest/vitest.mjs',
  '--config',
  'test/kernel/vitest.config.ts',
  '--configLoader',
  'runner',
];

/** A case's name is its describe blocks' and its own, as in "Attachment > grows". */
export type Cases = ReadonlyMap<string, readonly string[]>;

/** What became of one file. */
export interface FileResult {
  file: string;
  passed: number;
  /** What failed: a case that did not run and pass, or whatever else went wrong. */
  problems: string[];
  /** What vitest printed. */
  output: string;
}

/** Every case of the files that match `filters` (all by default), without running them. Rejects when a file cannot be loaded. */
export async function listCases(filters: readonly string[] = []): Promise<Cases> {
  const [script, ...options] = VITEST;
  const { stdout } = await execa('node', [script as string, 'list', ...filters, ...options, '--json'], {
    cwd: TREE,
  });
  const cases = new Map<string, string[]>();
  for (const { name, file } of JSON.parse(stdout) as { name: string; file: string }[]) {
    const relative = path.relative(TREE, file);
    cases.set(relative, [...(cases.get(relative) ?? []), name]);
  }
  return cases;
}

interface VitestReport {
  testResults: readonly {
    name: string;
    status: string;
    message: string;
    assertionResults: readonly { ancestorTitles: readonly string[]; title: string; status: string }[];
  }[];
}

/**
 * Compares vitest's report with what was expected. A case that was not run, or that nobody expected, is a failure like one
 * that did not pass; so is an error outside of all cases.
 */
export function judgeReport(
  json: string | undefined,
  file: string,
  expected: readonly string[],
): Pick<FileResult, 'passed' | 'problems'> {
  if (json === undefined || json === '') {
    return { passed: 0, problems: expected.map((name) => `${file}: left no report of ${name}`) };
  }
  const results = (JSON.parse(json) as VitestReport).testResults.filter(({ name }) => name.endsWith(file));
  const waiting = [...expected];
  const problems: string[] = [];
  let passed = 0;
  for (const { ancestorTitles, title, status } of results.flatMap((result) => result.assertionResults)) {
    const name = [...ancestorTitles, title].join(' > ');
    const place = waiting.indexOf(name);
    if (place < 0) problems.push(`${file}: ran ${name}, which nobody expected`);
    else waiting.splice(place, 1);
    if (place < 0) continue;
    if (status === 'passed') passed += 1;
    else problems.push(`${file}: ${status}: ${name}`);
  }
  problems.push(...waiting.map((name) => `${file}: was not run: ${name}`));
  for (const { status, message } of results) {
    if (status !== 'passed' && problems.length === 0) problems.push(`${file}: ${message}`);
  }
  return { passed, problems };
}

function vitestCommand(file: string, report: string): string[] {
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
  return [process.execPath, ...VITEST, 'run', ...reporters, file];
}

/** Seeds and the like. */
function passedOn(): Record<string, string> {
  const names = Object.keys(process.env).filter((name) => name.startsWith('ROOTLOOM_'));
  return Object.fromEntries(names.map((name) => [name, process.env[name] as string]));
}

async function judgeRun(
  file: string,
  expected: readonly string[],
  report: string,
  run: { status: number | undefined; problems: string[]; output: string },
): Promise<FileResult> {
  const judged = judgeReport(await readFile(report, 'utf8').catch(() => undefined), file, expected);
  const problems = [...judged.problems, ...run.problems];
  // An error outside of all tests is in no report, only in the exit status.
  if (run.status !== 0 && problems.length === 0)
    problems.push(`${file}: vitest's exit status is ${run.status}`);
  return { file, passed: judged.passed, problems, output: run.output };
}

/** Runs one file in a User-Mode Linux of its own. Console, output and report stay in build/kernel/NAME. */
export async function runFileInUml(file: string, expected: readonly string[]): Promise<FileResult> {
  const results = path.join(RESULTS, path.basename(file, '.test.ts'));
  const report = path.join(results, 'report.json');
  const run = await runInUml({ command: vitestCommand(file, report), results, environment: passedOn() });
  return judgeRun(file, expected, report, run);
}

/** Runs one file on this very kernel, which must have the driver; for root. */
export async function runFileHere(file: string, expected: readonly string[]): Promise<FileResult> {
  const report = path.join(RESULTS, `${path.basename(file, '.test.ts')}.json`);
  const [command, ...args] = vitestCommand(file, report);
  const { exitCode, all } = await execa(command as string, args, { cwd: TREE, reject: false, all: true });
  return judgeRun(file, expected, report, { status: exitCode, problems: [], output: all });
}

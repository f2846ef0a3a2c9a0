/** The code blocks of all pages: type-checked, run, or at least parsed. docs/testing.md says how they are marked. */
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Interruption } from '../../lib/cli/interruption.js';
import { createProgram } from '../../lib/cli/program.js';
import { CLI_FILE, PROJECT } from '../helpers/compiled-library.js';
import { ensureTemplate, TEMPLATE_TIMEOUT_MS, type TestTemplate } from '../helpers/template.js';
import { makeSmallStore, removeSmallStore, type SmallStore } from '../lib/cli/small-store.js';
import { type Block, listPages, readBlocks } from './pages.js';

const EXAMPLES = path.join(PROJECT, 'build/examples');
const MARKS = ['run', 'vm', 'no-run'];

const pages = await listPages();
const blocks = (await Promise.all(pages.map(readBlocks))).flat();
const TSX = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href;

const select = (language: string, ...marks: string[]) =>
  blocks.filter((block) => block.language === language && marks.includes(block.mark));
const pagesOf = (selected: readonly Block[]) => [...new Set(selected.map(({ page }) => page))];
const nameOf = ({ page, line }: Block) => `${page}:${line}`;
const withName = (block: Block) => ({ ...block, name: nameOf(block) });

/** What stands for a store and for ids in the examples, each where it is used and not declared. */
const PRELUDE = {
  store: `await using store = await (await import('rootloom')).openStore(process.env.ROOTLOOM_STORE ?? '');`,
  id: `const id = process.env.ID ?? '';`,
  base: `const base = process.env.BASE ?? '';`,
  templateId: `const templateId = process.env.TEMPLATE ?? '';`,
};

function fileOf({ page, line }: Block): string {
  return path.join(EXAMPLES, page.replaceAll(/\W/g, '-'), `line-${line}.ts`);
}

async function writeExample(block: Block): Promise<void> {
  const isUsed = (name: string) =>
    new RegExp(`\\b${name}\\b`).test(block.code) && !new RegExp(`(const|using) ${name}\\b`).test(block.code);
  const prelude = Object.entries(PRELUDE).flatMap(([name, line]) => (isUsed(name) ? [line] : []));
  await mkdir(path.dirname(fileOf(block)), { recursive: true });
  await writeFile(fileOf(block), [...prelude, block.code].join('\n'));
}

let store: SmallStore;
let bin: string;
beforeAll(async () => {
  await rm(EXAMPLES, { recursive: true, force: true });
  await Promise.all(select('ts', ...MARKS).map(writeExample));
  store = await makeSmallStore({ blobBytes: 0 });
  bin = path.join(store.folder, 'bin');
  await mkdir(bin);
  const program = `#!/bin/sh\nexec '${process.execPath}' '${CLI_FILE}' "$@"\n`;
  await writeFile(path.join(bin, 'rootloom'), program, { mode: 0o755 });
}, 120_000);
afterAll(() => removeSmallStore(store));

/** Where a block runs. */
interface Place {
  cwd: string;
  env: Record<string, string>;
}

/** A folder and a store for one block. */
async function makePlace(): Promise<Place> {
  const cwd = await mkdtemp(path.join(store.folder, 'place-'));
  const copy = path.join(cwd, '.store');
  for (const part of ['templates', 'cache'])
    await cp(path.join(store.path, part), path.join(copy, part), { recursive: true });
  return { cwd, env: { ROOTLOOM_STORE: copy, BASE: store.base, ID: store.resized } };
}

/** Imports each file in its own place: `node RUNNER JSON`. */
const RUNNER = `for (const { file, cwd, env } of JSON.parse(process.argv[1])) {
  process.chdir(cwd);
  Object.assign(process.env, env);
  await import(file);
}`;

/** Runs blocks, one after the other, in one process. */
async function runTypeScript(selected: readonly Block[], makeOne: () => Promise<Place>): Promise<void> {
  const runs: (Place & { file: string })[] = [];
  for (const block of selected) runs.push({ file: pathToFileURL(fileOf(block)).href, ...(await makeOne()) });
  const args = ['--import', TSX, '--input-type=module', '--eval', RUNNER, JSON.stringify(runs)];
  const { exitCode, stderr } = await execa(process.execPath, args, { reject: false });
  expect({ exitCode, stderr: exitCode === 0 ? '' : stderr }).toEqual({ exitCode: 0, stderr: '' });
}

async function runShell(code: string, { cwd, env }: Place): Promise<void> {
  const { exitCode, stderr } = await execa('bash', ['-euo', 'pipefail', '-c', code], {
    ...{ cwd, reject: false, stdin: 'ignore' },
    env: { ...env, PATH: `${bin}:${process.env.PATH}` },
  });
  expect({ exitCode, stderr: exitCode === 0 ? '' : stderr }).toEqual({ exitCode: 0, stderr: '' });
}

describe('code blocks', () => {
  it('say what is done with them', () => {
    const isMarked = ({ language, mark }: Block) =>
      ['ts', 'sh'].includes(language) ? MARKS.includes(mark) : ['json', 'text'].includes(language);
    expect(blocks.filter((block) => !isMarked(block)).map(nameOf)).toEqual([]);
    expect(select('ts', 'run').length).toBeGreaterThan(10);
    expect(select('sh', 'run').length).toBeGreaterThan(10);
  });

  it('of TypeScript have right types', async () => {
    const config = {
      extends: '../../tsconfig.json',
      compilerOptions: { paths: { rootloom: ['../../lib/index.ts'] } },
      include: ['**/*.ts'],
    };
    await writeFile(path.join(EXAMPLES, 'tsconfig.json'), JSON.stringify(config));
    const { stdout } = await execa('tsc', ['-p', EXAMPLES], {
      ...{ cwd: PROJECT, preferLocal: true, reject: false },
    });
    expect(stdout).toBe('');
  });

  it.concurrent.each(pagesOf(select('ts', 'run')))('of %s run: TypeScript', async (page) => {
    await runTypeScript(
      select('ts', 'run').filter((block) => block.page === page),
      makePlace,
    );
  });

  it.concurrent.each(select('sh', 'run').map(withName))('at $name run: shell', async ({ code }) => {
    await runShell(code, await makePlace());
  });

  it.each(select('sh', 'no-run').map(withName))('at $name: the command takes them', async ({ code }) => {
    for (const words of await splitCommands(code)) {
      // Whoever gets as far as to work with the signal has understood its arguments.
      const interruption = new Interruption();
      interruption.receive('SIGINT');
      const { reason } = interruption.signal;
      await expect(createProgram(interruption).parseAsync(words, { from: 'user' })).rejects.toBe(reason);
    }
  });
});

describe('code blocks that start sandboxes', () => {
  let template: TestTemplate;
  beforeAll(async () => {
    template = await ensureTemplate();
  }, TEMPLATE_TIMEOUT_MS);

  const makeTemplatePlace = async (): Promise<Place> => ({
    cwd: await mkdtemp(path.join(store.folder, 'place-')),
    env: { ROOTLOOM_STORE: template.store, TEMPLATE: template.buildId },
  });

  it('run: TypeScript', { timeout: 120_000 }, () => runTypeScript(select('ts', 'vm'), makeTemplatePlace));

  it.each(select('sh', 'vm').map(withName))('at $name run: shell', { timeout: 120_000 }, async ({ code }) => {
    await runShell(code, await makeTemplatePlace());
  });
});

/** The arguments of each line that calls rootloom, as bash splits them. */
async function splitCommands(code: string): Promise<string[][]> {
  const lines = code.split('\n').filter((line) => line.startsWith('rootloom '));
  const split = `rootloom() { printf '%s\\0' "$@"; printf '\\0\\0'; }\n${lines.join('\n')}`;
  const id = '0f8fad5b-d9cb-469f-a165-70867728950e';
  const { stdout } = await execa('bash', ['-euo', 'pipefail', '-c', split], {
    env: { ID: id, BASE: id, TEMPLATE: id },
  });
  return stdout
    .split('\0\0\0')
    .filter((call) => call !== '')
    .map((call) => call.split('\0'));
}

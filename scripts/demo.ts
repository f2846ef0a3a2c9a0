/**
 * The main job on real input, start to end: `npm run demo`.
 *
 * Makes a Debian 12 image with what is hard to copy on top, builds a template with a 1 GiB disk from it, builds from that
 * one a template with a 4 GiB disk, resumes a sandbox from its snapshot, and checks all of it with the stock tools. Run
 * again, it is answered from the cache. `-- --fresh` throws the demo's store away first.
 */
import { rm } from 'node:fs/promises';
import { buildTemplate, openStore, type TemplateOptions, type TemplateResult } from '../lib/index.js';
import { checkWithStockTool, compareDisks, lookInside } from './demo/checks.js';
import { printReport, type Step, say } from './demo/report.js';
import { ensureDebianImage } from './fixtures/debian-image.js';

const STORE = '.cache/demo/store';
const GIB = 1024 ** 3;

const controller = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const) {
  process.once(name, () => controller.abort(new Error(`Interrupted by ${name}`)));
}
const { signal } = controller;
const steps: Step[] = [];

async function timed<Value>(name: string, body: () => Promise<Value>): Promise<Value> {
  say(name);
  const started = performance.now();
  const value = await body();
  steps.push({ name, durationMs: performance.now() - started });
  return value;
}

async function build(name: string, options: TemplateOptions): Promise<TemplateResult> {
  say(name);
  const running = buildTemplate({ ...options, signal });
  for await (const event of running) {
    if (event.type === 'step' && event.done === 0) say(`  ${event.phase}: ${event.step}`);
    if (event.type === 'log') say(`  | ${event.line}`);
  }
  const result = await running.result;
  for (const { phase, durationMs, storedBytes, cached, timings } of result.phases) {
    steps.push({ name: `${name}: ${phase}`, durationMs, storedBytes, cached });
    const resize = timings.find(({ step }) => step === 'resize');
    if (resize !== undefined)
      steps.push({ name: `${name}: the resize in it`, durationMs: resize.durationMs });
  }
  return result;
}

if (process.argv.includes('--fresh')) await rm(STORE, { recursive: true, force: true });
const image = await timed('image: Debian 12 with mmdebstrap, packed by umoci', () =>
  ensureDebianImage((step) => say(`  ${step}`)),
);
await using store = await openStore(STORE, { signal });
const first = await build('template of 1 GiB, from the image', {
  store,
  from: { oci: image.reference },
  disk: { size: GIB },
});
const second = await build('template of 4 GiB, from that template', {
  store,
  from: { template: first.buildId },
  disk: { size: 4 * GIB },
});

const inside = await timed('sandbox: resume, and look inside', () =>
  lookInside(store, second.buildId, signal),
);
const check = await timed('stock e2fsck -fn of both disks', async () => ({
  first: await checkWithStockTool(store, first.buildId, signal),
  second: await checkWithStockTool(store, second.buildId, signal),
}));
const comparison = await timed('compare every file', () => compareDisks(store, first, second, signal));

const isGood = printReport({ first, second, steps, inside, check, comparison });
process.exitCode = isGood ? 0 : 1;

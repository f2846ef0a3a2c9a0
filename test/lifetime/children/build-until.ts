/**
 * Builds on a guest base, and tells each step on a line of its own: build-until.ts STORE BASE WHAT [HOW].
 *
 * WHAT is `image:REFERENCE` or `template`, for a whole build from that image or from the base, or `boot`, for the template phase right
 * over the base. HOW is `abort`, to abort at SIGINT as programs should, or `throw@STEP`, to throw in the loop over the events.
 */
import { openBuild } from '../../../lib/artifact/build.js';
import type { BuildEvent } from '../../../lib/build/events.js';
import { runLayer } from '../../../lib/build/layer-runner.js';
import { openMachine } from '../../../lib/build/machine.js';
import { SnapshotPhase } from '../../../lib/build/snapshot-phase.js';
import { buildTemplate } from '../../../lib/build/template-builder.js';
import { openStore } from '../../../lib/storage/open-store.js';

const [url, baseId, what, how = ''] = process.argv.slice(2) as [string, string, string, string?];
const controller = new AbortController();
if (how === 'abort') process.once('SIGINT', () => controller.abort(new Error('interrupted')));
const { signal } = controller;

function tell(event: BuildEvent): void {
  if (event.type !== 'step' || event.done > 0) return;
  const step = `${event.phase}: ${event.step}`;
  process.stdout.write(`${step}\n`);
  if (how === `throw@${step}`) throw new Error('thrown by the loop');
}

async function bootOver(store: Awaited<ReturnType<typeof openStore>>): Promise<void> {
  const build = await openBuild(store, baseId);
  const base = { build, hash: 'f'.repeat(64), report: undefined as never, made: undefined };
  const phase = new SnapshotPhase(await openMachine(), undefined);
  await runLayer(phase, base, { store, force: true, signal, emit: tell });
}

async function build(store: Awaited<ReturnType<typeof openStore>>): Promise<void> {
  const from = what.startsWith('image:') ? { oci: what.slice('image:'.length) } : { template: baseId };
  const disk = { size: 1024 ** 3 + 256 * 1024 ** 2 };
  const running = buildTemplate({ store, from, disk, force: true, signal });
  for await (const event of running) tell(event);
  await running.result;
}

{
  await using store = await openStore(url);
  await (what === 'boot' ? bootOver(store) : build(store)).catch((error: Error) => {
    if (!signal.aborted) throw error;
    process.stdout.write(`rejected: ${error.message}\n`);
    process.exitCode = 3;
  });
}

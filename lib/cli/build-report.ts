/** Shows a template build under way: a live list on a terminal, plain lines elsewhere, events as JSON when asked. */
import { type BuildEvent, formatByteSize, type PhaseReport, type TemplateBuild } from '../index.js';
import type { LiveTask } from './live-list.js';
import { toJson } from './output.js';
import { isLive, progressText } from './progress.js';

const TITLES = {
  base: 'base: make the disk',
  provision: 'provision: install what a sandbox needs',
  template: 'template: boot and snapshot',
};

/** "base: make the disk (1.2 s, 712 KiB stored)". */
export function phaseText({ phase, cached, durationMs, storedBytes }: PhaseReport): string {
  const how = cached
    ? 'cached'
    : `${(durationMs / 1000).toFixed(1)} s, ${formatByteSize(storedBytes)} stored`;
  return `${TITLES[phase]} (${how})`;
}

async function showPlain(build: TemplateBuild): Promise<void> {
  const say = (line: string) => process.stderr.write(`${line}\n`);
  let step: string | undefined;
  for await (const event of build) {
    if (event.type === 'phase-started') say(`==> ${TITLES[event.phase]}`);
    else if (event.type === 'phase-finished') say(`    ${phaseText(event.report)}`);
    else if (event.type === 'log') say(`    | ${event.line}`);
    else if (event.step !== step) say(`    ${event.step}`);
    if (event.type === 'step') step = event.step;
  }
}

/** Shows one phase on its line; ends with its last event. */
async function followPhase(events: AsyncIterator<BuildEvent>, task: LiveTask): Promise<void> {
  for (let next = await events.next(); !next.done; next = await events.next()) {
    const event = next.value;
    if (event.type === 'step') task.output = progressText(event);
    else if (event.type === 'log') task.output = event.line;
    else if (event.type === 'phase-finished') {
      task.title = phaseText(event.report);
      return;
    }
  }
}

async function showLive(build: TemplateBuild): Promise<void> {
  const events = build[Symbol.asyncIterator]();
  const { runLive } = await import('./live-list.js');
  await runLive(Object.values(TITLES).map((title) => ({ title, run: (task) => followPhase(events, task) })));
}

/** One line of JSON on standard error for each event. */
async function showEvents(build: TemplateBuild): Promise<void> {
  for await (const event of build) process.stderr.write(`${toJson({ event })}\n`);
}

/** Shows the build until it has ended. Its error may come through here already; `build.result` has it in any case. */
export async function showBuild(
  build: TemplateBuild,
  { json = false, events = false }: { json?: boolean | undefined; events?: boolean | undefined },
): Promise<void> {
  if (events) await showEvents(build);
  else if (json) await build.result;
  else if (isLive()) await showLive(build);
  else await showPlain(build);
}

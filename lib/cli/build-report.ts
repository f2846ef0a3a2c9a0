/** Shows a template build under way: a live list on a terminal, plain lines elsewhere. */
import { Listr, type ListrTaskWrapper } from 'listr2';
import { type BuildEvent, formatByteSize, type PhaseReport, type TemplateBuild } from '../index.js';
import { isLive, progressText } from './progress.js';

const TITLES = {
  base: 'base: make the disk',
  provision: 'provision: install what a sandbox needs',
  template: 'template: boot and snapshot',
};

/** "base: make the disk (1.2 s, 0.7 MiB stored)". */
export function phaseText({ phase, cached, durationMs, storedBytes }: PhaseReport): string {
  const how = cached
    ? 'cached'
    : `${(durationMs / 1000).toFixed(1)} s, ${formatByteSize(storedBytes)} stored`;
  return `${TITLES[phase]} (${how})`;
}

function plainLine(event: BuildEvent): string | undefined {
  switch (event.type) {
    case 'phase-started':
      return `==> ${TITLES[event.phase]}`;
    case 'phase-finished':
      return `    ${phaseText(event.report)}`;
    case 'step':
      return event.done === 0 ? `    ${event.step}` : undefined;
    case 'log':
      return `    | ${event.line}`;
  }
}

async function showPlain(build: TemplateBuild): Promise<void> {
  for await (const event of build) {
    const line = plainLine(event);
    if (line !== undefined) process.stderr.write(`${line}\n`);
  }
}

// biome-ignore lint/suspicious/noExplicitAny: listr2's wrapper is generic over renderers that do not matter here.
type AnyTask = ListrTaskWrapper<unknown, any, any>;

/** One task a phase; each ends when the events of its phase do. */
async function showLive(build: TemplateBuild): Promise<void> {
  const events = build[Symbol.asyncIterator]();
  const followPhase = async (task: AnyTask): Promise<void> => {
    for (let next = await events.next(); !next.done; next = await events.next()) {
      const event = next.value;
      if (event.type === 'step') task.output = progressText(event);
      else if (event.type === 'log') task.output = event.line;
      else if (event.type === 'phase-finished') {
        task.title = phaseText(event.report);
        return;
      }
    }
  };
  const tasks = Object.values(TITLES).map((title) => ({
    title,
    task: (_: unknown, task: AnyTask) => followPhase(task),
  }));
  await new Listr(tasks, { renderer: 'default', rendererOptions: { collapseErrors: false } }).run();
}

/** Shows the build until it has ended; its error comes through. */
export async function showBuild(build: TemplateBuild, json: boolean): Promise<void> {
  if (json) await build.result;
  else if (isLive(json)) await showLive(build);
  else await showPlain(build);
}

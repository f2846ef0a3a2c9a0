/** `rootloom list`: the builds of a store. */
import type { Command } from 'commander';
import { type BuildSummary, formatByteSize, listBuilds } from '../../index.js';
import { type CommandContext, type GlobalOptions, withGlobalOptions, withStore } from '../context.js';
import { formatTable, printResult } from '../output.js';

interface ListOptions extends GlobalOptions {
  all?: boolean;
}

/** What a sandbox can be started from, and what nobody knows better: builds of other programs, damaged ones. */
function isShownAlways({ phase }: BuildSummary): boolean {
  return phase === undefined || phase === 'template';
}

function rowOf(build: BuildSummary): string[] {
  return [
    build.buildId,
    build.phase ?? '-',
    build.diskSize === undefined ? '-' : formatByteSize(build.diskSize),
    formatByteSize(build.storedBytes),
    build.createdAt ?? '-',
    build.problem ?? build.source ?? '-',
  ];
}

export function addListCommand(program: Command, context: CommandContext): void {
  withGlobalOptions(
    program
      .command('list')
      .description('list templates, oldest first')
      .option('--all', 'also the layers that templates are made of'),
  ).action(async (options: ListOptions) => {
    const { signal } = context;
    const builds = await withStore(options, context, (store) => listBuilds(store, { signal }));
    const shown = builds.filter((build) => options.all === true || isShownAlways(build));
    await printResult(shown, options.json === true, (rows) =>
      formatTable(['build', 'phase', 'disk', 'stored', 'made', 'from'], rows.map(rowOf)),
    );
  });
}

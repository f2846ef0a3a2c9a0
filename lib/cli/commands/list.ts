/** `rootloom list`: the builds of a store. */
import type { Command } from 'commander';
import { formatByteSize, listBuilds } from '../../index.js';
import { type CommandContext, type GlobalOptions, withGlobalOptions, withStore } from '../context.js';
import { formatTable, printResult } from '../output.js';

interface ListOptions extends GlobalOptions {
  all?: boolean;
}

export function addListCommand(program: Command, context: CommandContext): void {
  withGlobalOptions(
    program
      .command('list')
      .description('list templates')
      .option('--all', 'also the layers that templates are made of'),
  ).action(async (options: ListOptions) => {
    const { signal } = context;
    const builds = await withStore(options, context, (store) => listBuilds(store, { signal }));
    const shown = builds.filter(
      ({ phase }) => options.all === true || phase === undefined || phase === 'template',
    );
    printResult(shown, options.json === true, (rows) =>
      formatTable(
        ['build', 'phase', 'disk', 'stored', 'made', 'from'],
        rows.map((build) => [
          build.buildId,
          build.phase ?? '-',
          build.diskSize === undefined ? '-' : formatByteSize(build.diskSize),
          formatByteSize(build.storedBytes),
          build.createdAt ?? '-',
          build.source ?? build.problem ?? '-',
        ]),
      ),
    );
  });
}

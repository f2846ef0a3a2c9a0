/** `rootloom rm ID`: removes a build that no other build needs. */
import type { Command } from 'commander';
import { removeBuild } from '../../index.js';
import { type CommandContext, type GlobalOptions, withGlobalOptions, withStore } from '../context.js';
import { printResult } from '../output.js';

interface RmOptions extends GlobalOptions {
  force?: boolean;
}

export function addRmCommand(program: Command, context: CommandContext): void {
  withGlobalOptions(
    program
      .command('rm')
      .description('remove builds, in the order given')
      .argument('<id...>')
      .option('--force', 'also when other builds need it, which breaks them'),
  ).action(async (ids: string[], options: RmOptions) => {
    const { signal } = context;
    await withStore(options, context, async (store) => {
      for (const id of ids) await removeBuild(store, id, { force: options.force === true, signal });
    });
    printResult({ removed: ids }, options.json === true, ({ removed }) =>
      removed.map((id) => `removed ${id}`).join('\n'),
    );
  });
}

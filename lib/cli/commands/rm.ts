/** `rootloom rm ID…`: removes builds that no other build needs. */
import type { Command } from 'commander';
import { removeBuild } from '../../index.js';
import { parseIds } from '../arguments.js';
import { type CommandContext, type GlobalOptions, withGlobalOptions, withStore } from '../context.js';
import { printResult } from '../output.js';

interface RmOptions extends GlobalOptions {
  force?: boolean;
}

export function addRmCommand(program: Command, context: CommandContext): void {
  withGlobalOptions(
    program
      .command('rm')
      .description('remove builds, in the order given, up to the first that cannot be removed')
      .argument('<id...>', 'of builds; those that need others go first', parseIds)
      .option('--force', 'also a build that others need, which breaks them'),
  ).action(async (ids: string[], { force = false, ...options }: RmOptions) => {
    const { signal } = context;
    const removed: string[] = [];
    await withStore(options, context, async (store) => {
      try {
        for (const id of ids) {
          await removeBuild(store, id, { force, signal });
          removed.push(id);
        }
      } finally {
        // What is gone is told even when the next one could not be removed.
        if (removed.length > 0) {
          await printResult({ removed }, options.json === true, () =>
            removed.map((id) => `removed ${id}`).join('\n'),
          );
        }
      }
    });
  });
}

/** `rootloom diff A B`: what differs between the files of two disks. */
import type { Command } from 'commander';
import { compareTrees, openRootfs } from '../../index.js';
import { type CommandContext, type GlobalOptions, withGlobalOptions, withStore } from '../context.js';
import { formatName } from '../file-text.js';
import { EXIT_CODES, formatTable, printResult } from '../output.js';

export function addDiffCommand(program: Command, context: CommandContext): void {
  withGlobalOptions(
    program
      .command('diff')
      .description('compare every file of two disks, with all metadata; exits with 1 when they differ')
      .argument('<a>')
      .argument('<b>'),
  ).action(async (a: string, b: string, options: GlobalOptions) => {
    const { signal } = context;
    const differences = await withStore(options, context, async (store) => {
      await using left = await openRootfs(store, a, { signal });
      await using right = await openRootfs(store, b, { signal });
      await using leftTree = await left.openTree({ signal });
      await using rightTree = await right.openTree({ signal });
      const found: { path: string; what: readonly string[] }[] = [];
      for await (const { path, what } of compareTrees(leftTree, rightTree, { signal }))
        found.push({ path, what });
      return found;
    });
    printResult(differences, options.json === true, (rows) =>
      rows.length === 0
        ? 'no differences'
        : formatTable(
            ['path', 'differs in'],
            rows.map(({ path, what }) => [formatName(path), what.join(', ')]),
          ),
    );
    if (differences.length > 0) process.exitCode = EXIT_CODES.failure;
  });
}

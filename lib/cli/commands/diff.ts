/** `rootloom diff A B`: what differs between the files of two disks. */
import type { Command } from 'commander';
import { compareTrees, type TreeDifference } from '../../index.js';
import { parseId } from '../arguments.js';
import { type CommandContext, type GlobalOptions, withGlobalOptions, withTree } from '../context.js';
import { EXIT_CODES } from '../failure.js';
import { formatName } from '../file-text.js';
import { formatTable, printResult } from '../output.js';
import { withProgress } from '../progress.js';

function formatDifferences(differences: readonly TreeDifference[]): string {
  if (differences.length === 0) return 'no differences';
  return formatTable(
    ['differs in', 'path'],
    differences.map(({ path, what }) => [what.join(','), formatName(path)]),
  );
}

export function addDiffCommand(program: Command, context: CommandContext): void {
  withGlobalOptions(
    program
      .command('diff')
      .description('compare every file of two disks, with all metadata; ends with 1 when they differ')
      .argument('<a>', 'a build', parseId)
      .argument('<b>', 'another one', parseId),
  ).action(async (a: string, b: string, options: GlobalOptions) => {
    const json = options.json === true;
    const { signal } = context;
    const differences: TreeDifference[] = [];
    await withProgress(`compare ${a} with ${b}`, json, () =>
      withTree(options, context, a, (left) =>
        withTree(options, context, b, async (right) => {
          for await (const difference of compareTrees(left, right, { signal })) differences.push(difference);
        }),
      ),
    );
    await printResult(differences, json, formatDifferences);
    if (differences.length > 0) process.exitCode = EXIT_CODES.failure;
  });
}

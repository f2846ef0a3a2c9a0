/** `rootloom cp ID:PATH FILE`: copies a file or a folder out of a disk. */
import type { Command } from 'commander';
import { copyOutTree, openRootfs } from '../../index.js';
import {
  type CommandContext,
  type GlobalOptions,
  parseImagePath,
  withGlobalOptions,
  withStore,
} from '../context.js';
import { printResult } from '../output.js';

export function addCpCommand(program: Command, context: CommandContext): void {
  withGlobalOptions(
    program
      .command('cp')
      .description('copy a file or a folder out of a disk; builds are immutable, so nothing is copied in')
      .argument('<id:path>')
      .argument('<target>', 'a path that does not exist yet'),
  ).action(async (source: string, target: string, options: GlobalOptions) => {
    const { id, path } = parseImagePath(source);
    const { signal } = context;
    const report = await withStore(options, context, async (store) => {
      await using rootfs = await openRootfs(store, id, { signal });
      await using tree = await rootfs.openTree({ signal });
      return copyOutTree(tree, path, target, { signal });
    });
    printResult(report, options.json === true, ({ files, bytes }) => `${files} files, ${bytes} bytes`);
  });
}

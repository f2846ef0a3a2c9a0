/** `rootloom fsck ID`: e2fsck's verdict on a build's disk, without a mount. */
import type { Command } from 'commander';
import { openRootfs } from '../../index.js';
import { type CommandContext, type GlobalOptions, withGlobalOptions, withStore } from '../context.js';
import { EXIT_CODES, printResult } from '../output.js';

export function addFsckCommand(program: Command, context: CommandContext): void {
  withGlobalOptions(
    program
      .command('fsck')
      .description("check a build's filesystem; the build is never changed")
      .argument('<id>'),
  ).action(async (id: string, options: GlobalOptions) => {
    const { signal } = context;
    const report = await withStore(options, context, async (store) => {
      await using rootfs = await openRootfs(store, id, { signal });
      return rootfs.fsck({}, { signal });
    });
    printResult(report, options.json === true, ({ clean, exitBits, problems, problemCount }) =>
      clean
        ? `${id}: clean`
        : [
            ...problems.map(({ code, message }) => `${code}  ${message}`),
            `${id}: ${problemCount} problems, e2fsck exit bits ${exitBits}`,
          ].join('\n'),
    );
    if (!report.clean) process.exitCode = EXIT_CODES.failure;
  });
}

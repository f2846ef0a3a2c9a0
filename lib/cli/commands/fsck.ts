/** `rootloom fsck ID`: e2fsck's verdict on a build's disk, without a mount. */
import type { Command } from 'commander';
import { type FsckReport, type Isolation, openRootfs } from '../../index.js';
import { isolationOption, parseId } from '../arguments.js';
import { type CommandContext, type GlobalOptions, withGlobalOptions, withStore } from '../context.js';
import { EXIT_CODES } from '../failure.js';
import { printResult } from '../output.js';
import { withProgress } from '../progress.js';

function formatReport(id: string, { clean, exitBits, problems, problemCount }: FsckReport): string {
  if (clean) return `${id}: clean`;
  return [
    ...problems.map(({ code, message }) => `${code}  ${message}`),
    `${id}: ${problemCount} problems, e2fsck exit bits ${exitBits}`,
  ].join('\n');
}

export function addFsckCommand(program: Command, context: CommandContext): void {
  withGlobalOptions(
    program
      .command('fsck')
      .description("check a build's filesystem, which is never changed; ends with 1 when it has problems")
      .argument('<id>', 'of the build', parseId)
      .addOption(isolationOption()),
  ).action(async (id: string, options: GlobalOptions & { isolation?: Isolation }) => {
    const { signal } = context;
    const { isolation } = options;
    const json = options.json === true;
    const report = await withStore(options, context, async (store) => {
      await using rootfs = await openRootfs(store, id, { signal, isolation });
      return await withProgress(`check ${id}`, json, (onProgress) => rootfs.fsck({}, { signal, onProgress }));
    });
    await printResult(report, json, (found) => formatReport(id, found));
    if (!report.clean) process.exitCode = EXIT_CODES.failure;
  });
}

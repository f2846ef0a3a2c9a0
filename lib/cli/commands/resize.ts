/** `rootloom resize ID`: the same disk with another size, as a build of its own, without booting it. */
import { type Command, Option } from 'commander';
import {
  type CheckPolicy,
  formatByteSize,
  type ResizeRootfsResult,
  type ResizeTarget,
  resizeRootfs,
  type Strategy,
} from '../../index.js';
import { parseId, parseSize, UsageError } from '../arguments.js';
import { type CommandContext, type GlobalOptions, withGlobalOptions, withStore } from '../context.js';
import { printResult } from '../output.js';
import { withProgress } from '../progress.js';

interface ResizeOptions extends GlobalOptions {
  diskSize?: number | 'minimum';
  diskFree?: number;
  check: CheckPolicy;
  strategy: Strategy;
}

function targetOf({ diskSize, diskFree }: ResizeOptions): ResizeTarget {
  if (diskSize === 'minimum') return diskSize;
  if (diskSize !== undefined) return { size: diskSize };
  if (diskFree !== undefined) return { free: diskFree };
  throw new UsageError('Cannot resize: one of --disk-size and --disk-free is needed');
}

function formatResult({ buildId, oldSize, newSize, free, diffBytes, io }: ResizeRootfsResult): string {
  return [
    `${buildId}: ${formatByteSize(oldSize)} → ${formatByteSize(newSize)}, ${formatByteSize(free)} free`,
    `${formatByteSize(diffBytes)} stored; ${io.blocksRead} blocks read, ${io.blocksWritten} written`,
  ].join('\n');
}

export function addResizeCommand(program: Command, context: CommandContext): void {
  const command = program
    .command('resize')
    .description('make a build with the same disk in another size, without booting it')
    .argument('<id>', 'of the build', parseId)
    .addOption(
      new Option('--disk-size <size>', 'of the disk, exactly: 4G, 512M, bytes; or min, as small as it goes')
        .argParser((text) => (text === 'min' ? 'minimum' : parseSize(text)))
        .conflicts('diskFree'),
    )
    .addOption(new Option('--disk-free <size>', 'to be free on the disk').argParser(parseSize))
    .addOption(
      new Option('--check <policy>', 'when to check the disk before')
        .choices(['auto', 'always', 'never'])
        .default('auto'),
    )
    .addOption(
      new Option('--strategy <strategy>', 'how the disk gets its size')
        .choices(['resize', 'rebuild', 'copy'])
        .default('resize'),
    );
  withGlobalOptions(command).action(async (id: string, options: ResizeOptions) => {
    const { signal } = context;
    const { check, strategy } = options;
    const json = options.json === true;
    const disk = targetOf(options);
    const result = await withStore(options, context, (store) =>
      withProgress(`resize ${id}`, json, (onProgress) =>
        resizeRootfs(store, id, { disk, check, strategy, signal, onProgress }),
      ),
    );
    await printResult(result, json, formatResult);
  });
}

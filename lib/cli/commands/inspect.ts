/** `rootloom inspect ID`: what a build is, what it is made of, and whether it is whole. */
import type { Command } from 'commander';
import { formatByteSize, inspectBuild } from '../../index.js';
import { type CommandContext, type GlobalOptions, withGlobalOptions, withStore } from '../context.js';
import { formatPairs, formatTable, printResult } from '../output.js';

interface InspectOptions extends GlobalOptions {
  verify?: boolean;
}

export function addInspectCommand(program: Command, context: CommandContext): void {
  withGlobalOptions(
    program
      .command('inspect')
      .description('show what a build is and what it is made of')
      .argument('<id>')
      .option('--verify', 'read all of its data and compare digests'),
  ).action(async (id: string, options: InspectOptions) => {
    const { signal } = context;
    const report = await withStore(options, context, (store) =>
      inspectBuild(store, id, { deep: options.verify === true, signal }),
    );
    printResult(report, options.json === true, ({ build, disk, filesystem, objects, chain }) =>
      [
        formatPairs([
          ['build', build.id],
          ['phase', build.phase ?? '-'],
          ['made', build.createdAt ?? '-'],
          ['layer hash', build.layerHash ?? '-'],
          ['parent', build.parentBuildId ?? '-'],
          ['disk', `${formatByteSize(disk.size)}, generation ${disk.generation}, ${disk.mappings} mappings`],
          [
            'filesystem',
            `${filesystem.uuid}, ${formatByteSize(filesystem.freeBytes)} free, ${filesystem.clean ? 'clean' : filesystem.notCleanReason}`,
          ],
        ]),
        '',
        formatTable(
          ['object', 'bytes', 'stored'],
          objects.map(({ name, size, storedBytes }) => [name, String(size), formatByteSize(storedBytes)]),
        ),
        '',
        formatTable(
          ['disk data in build', 'bytes'],
          chain.map(({ buildId, bytes }) => [buildId, String(bytes)]),
        ),
      ].join('\n'),
    );
  });
}

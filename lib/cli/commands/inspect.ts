/** `rootloom inspect ID`: what a build is, what it is made of, and whether it is whole. */
import type { Command } from 'commander';
import { type BuildInspection, formatByteSize, inspectBuild } from '../../index.js';
import { parseId } from '../arguments.js';
import { type CommandContext, type GlobalOptions, withGlobalOptions, withStore } from '../context.js';
import { formatPairs, formatTable, printResult } from '../output.js';
import { withProgress } from '../progress.js';

interface InspectOptions extends GlobalOptions {
  verify?: boolean;
}

/** Only when the data was read. */
function verifiedPair({ comparedBytes, uncomparedBytes }: BuildInspection['verified']): [string, string] {
  const [compared, uncompared] = [formatByteSize(comparedBytes), formatByteSize(uncomparedBytes)];
  return ['data', `${compared} compared with digests, ${uncompared} read without one to compare with`];
}

function formatInspection({ build, disk, filesystem, objects, chain, verified }: BuildInspection): string {
  const { uuid, freeBytes, clean, notCleanReason } = filesystem;
  return [
    formatPairs([
      ['build', build.id],
      ['phase', build.phase ?? '-'],
      ['made', build.createdAt ?? '-'],
      ['layer hash', build.layerHash ?? '-'],
      ['parent', build.parentBuildId ?? '-'],
      ['disk', `${formatByteSize(disk.size)}, generation ${disk.generation}, ${disk.mappings} mappings`],
      ['filesystem', `${uuid}, ${formatByteSize(freeBytes)} free, ${clean ? 'clean' : notCleanReason}`],
      ...(verified.comparedBytes + verified.uncomparedBytes > 0 ? [verifiedPair(verified)] : []),
    ]),
    formatTable(
      ['object', 'bytes', 'stored'],
      objects.map(({ name, size, storedBytes }) => [name, String(size), formatByteSize(storedBytes)]),
    ),
    formatTable(
      ['disk data in build', 'bytes'],
      chain.map(({ buildId, bytes }) => [buildId, String(bytes)]),
    ),
  ].join('\n\n');
}

export function addInspectCommand(program: Command, context: CommandContext): void {
  withGlobalOptions(
    program
      .command('inspect')
      .description('show what a build is and what it is made of')
      .argument('<id>', 'of the build', parseId)
      .option('--verify', 'read all of its data, and compare digests where they are known'),
  ).action(async (id: string, options: InspectOptions) => {
    const { signal } = context;
    const json = options.json === true;
    const report = await withStore(options, context, (store) =>
      withProgress(`inspect ${id}`, json, (onProgress) =>
        inspectBuild(store, id, { deep: options.verify === true, signal, onProgress }),
      ),
    );
    await printResult(report, json, formatInspection);
  });
}

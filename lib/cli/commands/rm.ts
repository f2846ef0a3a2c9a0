/** `rootloom rm ID…`: removes builds that no other build needs; `rm --unused`: layers that no template needs. */
import { type Command, Option } from 'commander';
import { formatByteSize, removeBuild, removeUnusedLayers, type Store } from '../../index.js';
import { parseCount, parseIds, UsageError } from '../arguments.js';
import { type CommandContext, type GlobalOptions, withGlobalOptions, withStore } from '../context.js';
import { printResult } from '../output.js';

interface RmOptions extends GlobalOptions {
  force?: boolean;
  unused?: boolean;
  /** In seconds. */
  olderThan?: number;
}

function throwIfMixed(ids: readonly string[], { force, unused, olderThan }: RmOptions): void {
  const removesUnused = unused === true;
  if (removesUnused === ids.length > 0) {
    throw new UsageError('Cannot remove: either ids of builds or --unused is needed');
  }
  if (removesUnused && force === true) throw new UsageError('Cannot remove: --force is for ids of builds');
  if (!removesUnused && olderThan !== undefined) {
    throw new UsageError('Cannot remove: --older-than belongs to --unused');
  }
}

async function removeNamed(
  store: Store,
  ids: readonly string[],
  options: RmOptions,
  signal: AbortSignal,
): Promise<void> {
  const removed: string[] = [];
  try {
    for (const id of ids) {
      await removeBuild(store, id, { force: options.force, signal });
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
}

async function removeUnused(store: Store, options: RmOptions, signal: AbortSignal): Promise<void> {
  const { olderThan } = options;
  const olderThanMs = olderThan === undefined ? undefined : olderThan * 1000;
  const result = await removeUnusedLayers(store, { olderThanMs, signal });
  await printResult(result, options.json === true, ({ removed, freedBytes }) =>
    [...removed.map((id) => `removed ${id}`), `${formatByteSize(freedBytes)} freed`].join('\n'),
  );
}

export function addRmCommand(program: Command, context: CommandContext): void {
  const command = program
    .command('rm')
    .description('remove builds, in the order given, up to the first that cannot be removed')
    .argument('[id...]', 'of builds; those that need others go first', parseIds)
    .option('--force', 'also a build that others need, which breaks them')
    .option('--unused', 'instead of ids: all layers that no template needs any more')
    .addOption(
      new Option('--older-than <seconds>', 'of these, how old they are at least (default: 3600)').argParser(
        parseCount,
      ),
    );
  withGlobalOptions(command).action(async (ids: string[], options: RmOptions) => {
    throwIfMixed(ids, options);
    const { signal } = context;
    await withStore(options, context, (store) =>
      options.unused === true
        ? removeUnused(store, options, signal)
        : removeNamed(store, ids, options, signal),
    );
  });
}

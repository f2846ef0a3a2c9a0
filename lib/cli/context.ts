/** What every command shares: the store, the form of the answer, cancellation. */
import type { Command } from 'commander';
import {
  defaultStoreUrl,
  type Ext4Tree,
  openRootfs,
  openStore,
  parseStorageUrl,
  type Store,
} from '../index.js';
import { checkUsage } from './arguments.js';
import type { Interruption } from './interruption.js';

export interface GlobalOptions {
  store?: string;
  json?: boolean;
}

/** What can come to a command from outside. */
export type CommandContext = Pick<Interruption, 'signal' | 'holdOut'>;

/** Adds the options that all commands have. */
export function withGlobalOptions(command: Command): Command {
  return command
    .option(
      '--store <url>',
      'folder or file: URL of the store (default: $ROOTLOOM_STORE, or ~/.local/share/rootloom)',
    )
    .option('--json', 'answer with JSON on standard output, and errors as JSON on standard error');
}

/** Where the store is that the options name. */
export function storeUrl({ store = defaultStoreUrl() }: GlobalOptions): string {
  checkUsage(() => parseStorageUrl(store));
  return store;
}

/** Opens the store that the options name, for the time of `body`. */
export async function withStore<Value>(
  options: GlobalOptions,
  { signal }: Pick<CommandContext, 'signal'>,
  body: (store: Store) => Promise<Value>,
): Promise<Value> {
  await using store = await openStore(storeUrl(options), { signal });
  return await body(store);
}

/** Opens the files of a build's disk, for the time of `body`. */
export async function withTree<Value>(
  options: GlobalOptions,
  context: CommandContext,
  buildId: string,
  body: (tree: Ext4Tree) => Promise<Value>,
): Promise<Value> {
  const { signal } = context;
  return withStore(options, context, async (store) => {
    await using rootfs = await openRootfs(store, buildId, { signal });
    await using tree = await rootfs.openTree({ signal });
    return await body(tree);
  });
}

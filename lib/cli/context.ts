/** What every command shares: the store, the form of the answer, cancellation. */
import type { Command } from 'commander';
import { defaultStoreUrl, openStore, type Store } from '../index.js';

export interface GlobalOptions {
  store?: string;
  json?: boolean;
}

export interface CommandContext {
  signal: AbortSignal;
}

/** Adds the options that all commands have. */
export function withGlobalOptions(command: Command): Command {
  return command
    .option(
      '--store <url>',
      'folder or file: URL of the store (default: $ROOTLOOM_STORE, or the user data folder)',
    )
    .option('--json', 'answer with JSON on standard output, and errors as JSON on standard error');
}

/** Opens the store that the options name, for the time of `body`. */
export async function withStore<Value>(
  options: GlobalOptions,
  { signal }: CommandContext,
  body: (store: Store) => Promise<Value>,
): Promise<Value> {
  await using store = await openStore(options.store ?? defaultStoreUrl(), { signal });
  return await body(store);
}

/** `ID:PATH`, as the file commands take it. */
export function parseImagePath(text: string): { id: string; path: string } {
  const colon = text.indexOf(':');
  if (colon <= 0)
    throw new TypeError(`Cannot use ${text}: wanted ID:PATH, with a build's UUID before the colon`);
  return { id: text.slice(0, colon), path: text.slice(colon + 1) || '/' };
}

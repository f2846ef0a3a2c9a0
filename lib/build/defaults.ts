/** What holds when a caller does not say otherwise. */
import { homedir } from 'node:os';
import path from 'node:path';

/** $ROOTLOOM_STORE, or a folder of the user's data: ~/.local/share/rootloom. */
export function defaultStoreUrl(environment: NodeJS.ProcessEnv = process.env): string {
  const { ROOTLOOM_STORE, XDG_DATA_HOME } = environment;
  if (ROOTLOOM_STORE) return ROOTLOOM_STORE;
  return path.join(XDG_DATA_HOME || path.join(homedir(), '.local', 'share'), 'rootloom');
}

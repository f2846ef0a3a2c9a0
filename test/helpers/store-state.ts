/** Everything that a store holds, to tell that a failed call has left it as it was. */
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Store } from '../../lib/storage/store.js';
import { listIfThere } from '../../lib/util/lookup.js';

export interface StoreState {
  builds: string[];
  /** Folders of staging and of assembly, of builds being removed. */
  temporary: string[];
  /** Layer hash → build. */
  layers: Record<string, string>;
}

export async function stateOf(store: Store): Promise<StoreState> {
  const root = fileURLToPath(store.url);
  const temporary = await listIfThere(path.join(root, '.rootloom', 'tmp'));
  const layers: Record<string, string> = {};
  const index = path.join(root, 'cache', 'shared', 'index');
  for (const hash of (await listIfThere(index)).sort()) {
    layers[hash] = JSON.parse(await readFile(path.join(index, hash), 'utf8')).template.build_id;
  }
  return {
    builds: await readdir(path.join(root, 'templates')).catch(() => []),
    temporary: temporary.filter((name) => name !== 'lock'),
    layers,
  };
}

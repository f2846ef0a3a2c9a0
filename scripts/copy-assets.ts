/** Copies the folders that the library loads at run time and that tsc leaves behind, from lib/ to dist/. */
import { cpSync, readdirSync } from 'node:fs';
import path from 'node:path';

for (const entry of readdirSync('lib', { recursive: true, withFileTypes: true })) {
  if (!entry.isDirectory() || entry.name !== 'assets') continue;
  const source = path.join(entry.parentPath, entry.name);
  cpSync(source, path.join('dist', path.relative('lib', source)), { recursive: true });
}

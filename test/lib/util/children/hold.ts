/** Holds a lock or an owned folder, says so, and waits to be killed: hold.ts lock|folder PATH. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { FileLock } from '../../../../lib/util/file-lock.js';
import { OwnedFolder } from '../../../../lib/util/owned-folder.js';

const [kind, path] = process.argv.slice(2) as [string, string];
if (kind === 'lock') {
  await FileLock.acquire(path);
} else {
  const folder = await OwnedFolder.create(path);
  await writeFile(join(folder.path, 'data'), 'data');
}
console.log('held');
setInterval(() => {}, 1000);

/** Adds 1 to the number in a file, `times` times, under a lock: count.ts LOCK FILE TIMES. Kills itself when told to, amid it. */
import { readFile, writeFile } from 'node:fs/promises';
import { FileLock } from '../../../../lib/util/file-lock.js';

const [lock, file, times, dieAfter] = process.argv.slice(2) as [string, string, string, string];
for (let i = 0; i < Number(times); i += 1) {
  using _held = await FileLock.acquire(lock);
  const value = Number(await readFile(file, 'utf8'));
  if (i === Number(dieAfter)) process.kill(process.pid, 'SIGKILL');
  await new Promise((resolve) => setImmediate(resolve));
  await writeFile(file, String(value + 1));
}

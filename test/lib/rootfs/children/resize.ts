/** Resizes a build's disk under strace, and notes how many processes had been started before it began. */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { resizeRootfs } from '../../../../lib/build/resize-rootfs.js';
import { openStore } from '../../../../lib/storage/open-store.js';

const [url, buildId, size, folder] = process.argv.slice(2) as [string, string, string, string];
await using store = await openStore(url);
const trace = readFileSync(path.join(folder, 'trace'), 'utf8');
writeFileSync(
  path.join(folder, 'calls-before'),
  String(trace.match(/(execve|execveat|vfork|fork)\(/g)?.length ?? 0),
);
await resizeRootfs(store, buildId, { disk: { size: Number(size) } });

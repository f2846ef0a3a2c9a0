/** Fills a small filesystem and then publishes and removes on it: full-disk.ts FOLDER. Prints what happened as JSON. */
import { readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { RootloomError } from '../../../../lib/errors.js';
import { openStore } from '../../../../lib/storage/open-store.js';
import { makeBuild, publishSmallBuild } from '../new-build.js';

const [folder] = process.argv.slice(2) as [string];
const codeOf = (error: unknown) => (error instanceof RootloomError ? error.code : String(error));

const root = join(folder, 'store');
const store = await openStore(root);
const kept = await publishSmallBuild(store);
// The build's files lie elsewhere, so that it is the store that runs out of space.
await using elsewhere = await (await openStore(process.env.ROOTLOOM_TEST_ELSEWHERE ?? '')).createStaging();
const build = await makeBuild(elsewhere.path);
await writeFile(build.files.get('rootfs.ext4') ?? '', Buffer.alloc(8 << 20, 1));
const published = await store.publish(build).catch(codeOf);
const afterwards = await readdir(join(root, '.rootloom', 'tmp'));
await writeFile(join(folder, 'filler'), Buffer.alloc(8 << 20, 1)).catch(() => {});
const written = await store.writeLayer({ scope: 'test', hash: '0'.repeat(64) }, kept).catch(codeOf);
const removed = await store.remove(kept).catch(codeOf);
await rm(join(folder, 'filler'));
await publishSmallBuild(store);
console.log(
  JSON.stringify({ published, afterwards, written, removed, builds: (await store.listBuilds()).length }),
);

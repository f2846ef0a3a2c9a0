/** Arguments: a store whose folder of builds cannot be synced, an id. Says how a publication ends and what is visible then. */
import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { isRootloomError } from '../../../../lib/errors.js';
import { openStore } from '../../../../lib/storage/open-store.js';
import { makeBuild } from '../new-build.js';

const [root = '', buildId = ''] = process.argv.slice(2);
const store = await openStore(root);
const staging = join(root, '..', 'staging');
await mkdir(staging);
const build = await makeBuild(staging, buildId);
const published = await store.publish(build).then(
  () => 'published',
  (error) => (isRootloomError(error) ? { code: error.code, path: error.context.path } : String(error)),
);
const names = await readdir(join(root, 'templates'));
const left = (await readdir(join(root, '.rootloom', 'tmp'))).filter((name) => name !== 'lock');
console.log(JSON.stringify({ published, builds: await store.listBuilds(), names, left }));

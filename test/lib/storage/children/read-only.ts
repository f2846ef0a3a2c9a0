/** Arguments: a store on a filesystem that is read-only. Says what can be done with it. */
import { isRootloomError } from '../../../../lib/errors.js';
import { openStore } from '../../../../lib/storage/open-store.js';

const codeOf = (error: unknown) => (isRootloomError(error) ? error.code : String(error));

const store = await openStore(process.argv[2] ?? '');
const builds = await store.listBuilds();
const [buildId = ''] = builds;
const content = await store.readObject({ buildId, name: 'snapfile' });
const staging = await store.createStaging().then(() => 'made', codeOf);
const removed = await store.remove(buildId).then(() => 'removed', codeOf);
console.log(JSON.stringify({ builds, content: content.toString(), staging, removed }));

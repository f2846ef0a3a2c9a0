/** Mounts a build and ends without closing anything: `mount-and-exit STORE ID FOLDER HOW`. */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { mountRootfs } from '../../../lib/rootfs/mount.js';
import { openStore } from '../../../lib/storage/open-store.js';

const [storePath = '', buildId = '', folder = '', how] = process.argv.slice(2);
const mount = await mountRootfs(await openStore(storePath), buildId, folder);
writeFileSync(path.join(mount.path, 'file'), 'not written out yet');
if (how === 'throw') throw new Error('a bug');
process.exit(0);

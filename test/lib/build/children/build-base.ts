/** Builds a base layer and then its disk with another size, over and over, until it is killed. */
import { resizeRootfs } from '../../../../lib/build/resize-rootfs.js';
import { openStore } from '../../../../lib/storage/open-store.js';
import { buildBase } from '../../../helpers/base-build.js';

const [url, reference] = process.argv.slice(2) as [string, string];
process.stdout.write('ready\n');
for (let round = 0; ; round += 1) {
  await using store = await openStore(url);
  const { build } = await buildBase({ store, reference, disk: { size: 64 * 1024 * 1024 }, force: true });
  await resizeRootfs(store, build.id, { disk: { size: (round % 2 === 0 ? 96 : 48) * 1024 * 1024 } });
  process.stdout.write(`round ${round}\n`);
}

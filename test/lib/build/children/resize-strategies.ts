/** Gives a build's disk other sizes by every strategy, isolated and not, over and over, until it is killed. */
import { resizeRootfs } from '../../../../lib/build/resize-rootfs.js';
import { ISOLATIONS } from '../../../../lib/native/isolation.js';
import { STRATEGIES } from '../../../../lib/rootfs/strategy.js';
import { openStore } from '../../../../lib/storage/open-store.js';

const [url, buildId, size] = process.argv.slice(2) as [string, string, string];
process.stdout.write('ready\n');
for (let round = 0; ; round += 1) {
  await using store = await openStore(url);
  for (const isolation of ISOLATIONS) {
    for (const strategy of STRATEGIES) {
      await resizeRootfs(store, buildId, { disk: { size: Number(size) }, strategy, isolation });
    }
  }
  process.stdout.write(`round ${round}\n`);
}

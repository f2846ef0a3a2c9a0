/**
 * What another disk size for a template costs: 1 → 10 GiB for the Debian image of the demo.
 *
 * Measures: rootloom's resizeRootfs (open the chain, overlay, resize in place, seal, publish with every fsync), and the resize
 * alone inside it; beside e2fsck + resize2fs + e2fsck of the distribution on a raw copy of the same disk, and the way it was
 * done before: a new filesystem, loop mounts, rsync of every file, shrink, grow, check. Needs root and the kernel's loop driver.
 * Does not measure: transfers to or from a remote store, and booting.
 */
import path from 'node:path';
import { copyDeviceToFile, ext4, openRootfs, openStore, type Store } from '../../lib/index.js';
import { ensureDebianImage } from '../../scripts/fixtures/debian-image.js';
import { buildBase } from '../../test/helpers/base-build.js';
import type { Benchmark } from '../harness/bench.js';
import type { Sample } from '../harness/point.js';
import {
  copyEveryFile,
  EVERY_FILE,
  resizeHere,
  resizeWithStockTools,
  STOCK_TOOLS,
  WHOLE_CALL,
} from '../peers/resize-peers.js';

const GIB = 1024 ** 3;
const NEW_SIZE = 10 * GIB;

async function resizeEngineAlone(store: Store, source: string): Promise<Sample> {
  await using rootfs = await openRootfs(store, source, { writable: true });
  const overlay = rootfs.device as import('../../lib/index.js').OverlayDevice;
  await overlay.resize(NEW_SIZE);
  const started = performance.now();
  const { io } = await ext4.resize(overlay, { size: NEW_SIZE }, { isolation: 'none' });
  return { value: performance.now() - started, newBytes: io.blocksWritten * 4096 };
}

export const benchmark: Benchmark = {
  title: 'Another disk size for a template: Debian 12 with 19,650 files, 1 → 10 GiB',
  async run(bench) {
    const { folder, cleaner } = bench;
    await bench.version('stock e2fsprogs', 'mke2fs', '-V');
    await bench.version('rsync', 'rsync', '--version');
    const { reference } = await ensureDebianImage();
    const store = cleaner.use('the store', await openStore(path.join(folder, 'store')));
    const { build } = await buildBase({ store, reference, disk: { size: GIB } });
    const raw = path.join(folder, 'source.img');
    {
      await using rootfs = await openRootfs(store, build.id);
      await copyDeviceToFile(rootfs.device, raw);
    }
    await bench.point({
      name: '1 → 10 GiB',
      unit: 'ms',
      reference: WHOLE_CALL,
      peers: {
        [WHOLE_CALL]: () => resizeHere(store, build.id, NEW_SIZE),
        'rootloom: the resize alone': () => resizeEngineAlone(store, build.id),
        [STOCK_TOOLS]: () => resizeWithStockTools(raw, folder, NEW_SIZE),
        [EVERY_FILE]: () => copyEveryFile(raw, folder, NEW_SIZE),
      },
      goals: [
        { peer: WHOLE_CALL, of: STOCK_TOOLS, limit: 1 / 5 },
        { peer: WHOLE_CALL, of: EVERY_FILE, limit: 1 / 100 },
      ],
    });
  },
};

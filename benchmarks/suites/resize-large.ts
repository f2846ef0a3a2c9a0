/**
 * The same as the benchmark resize, for a disk that holds 5 GB: 8 → 16 GiB. What copies files, or looks at all of them, takes
 * longer the more there is; what changes the filesystem in place does not.
 *
 * Measures and does not measure what resize does. Two rounds, for the slowest peer takes minutes. Needs root and the kernel's loop driver.
 */
import path from 'node:path';
import {
  copyDeviceToFile,
  openFileDevice,
  openRootfs,
  openStore,
  openTree,
  resizeRootfs,
} from '../../lib/index.js';
import { ensureDebianImage } from '../../scripts/fixtures/debian-image.js';
import { buildBase } from '../../test/helpers/base-build.js';
import { publishImage } from '../../test/helpers/image-build.js';
import type { Bench, Benchmark } from '../harness/bench.js';
import {
  copyEveryFile,
  EVERY_FILE,
  resizeHere,
  resizeWithStockTools,
  STOCK_TOOLS,
  WHOLE_CALL,
} from '../peers/resize-peers.js';

const GIB = 1024 ** 3;
const OLD_SIZE = 8 * GIB;
const NEW_SIZE = 16 * GIB;
const CONTENT_BYTES = 5_000_000_000;
const FILE_BYTES = 4_000_000;

/** A raw image of the Debian disk with so many bytes of files besides. */
async function makeImage({ folder, quick, cleaner }: Bench): Promise<string> {
  const raw = path.join(folder, 'source.img');
  const store = cleaner.use('the first store', await openStore(path.join(folder, 'first')));
  const { reference } = await ensureDebianImage();
  const { build } = await buildBase({ store, reference, disk: { size: OLD_SIZE } });
  {
    await using rootfs = await openRootfs(store, build.id);
    await copyDeviceToFile(rootfs.device, raw);
  }
  await using device = await openFileDevice(raw, { writable: true });
  await using tree = await openTree(device, { writable: true, isolation: 'none' });
  const content = Buffer.alloc(FILE_BYTES);
  for (let at = 0; at < content.length; at += 1) content[at] = 1 + ((at * 2_654_435_761) % 255);
  const count = Math.ceil((quick ? CONTENT_BYTES / 100 : CONTENT_BYTES) / FILE_BYTES);
  for (let index = 0; index < count; index += 1) {
    content.writeUInt32LE(index);
    await tree.writeFile(`/srv/file-${index}`, content);
  }
  return raw;
}

export const benchmark: Benchmark = {
  title: 'Another disk size for a template with 5 GB of files, 8 → 16 GiB',
  rounds: 2,
  async run(bench) {
    const { folder, cleaner } = bench;
    await bench.version('stock e2fsprogs', 'mke2fs', '-V');
    await bench.version('rsync', 'rsync', '--version');
    const raw = await makeImage(bench);
    const store = cleaner.use('the store', await openStore(path.join(folder, 'store')));
    const foreign = await publishImage(store, raw);
    // Checked once, and known to be sound from here on, as a template is.
    const { buildId } = await resizeRootfs(store, foreign.id, { disk: { size: OLD_SIZE } });
    await bench.point({
      name: '8 → 16 GiB',
      unit: 'ms',
      reference: WHOLE_CALL,
      peers: {
        [WHOLE_CALL]: () => resizeHere(store, buildId, NEW_SIZE),
        [STOCK_TOOLS]: () => resizeWithStockTools(raw, folder, NEW_SIZE),
        [EVERY_FILE]: () => copyEveryFile(raw, folder, NEW_SIZE),
      },
      goals: [{ peer: WHOLE_CALL, of: EVERY_FILE, limit: 1 / 1000 }],
    });
  },
};

import path from 'node:path';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { removeUnusedLayers } from '../../../lib/artifact/unused.js';
import { resizeRootfs } from '../../../lib/build/resize-rootfs.js';
import { serve } from '../../../lib/native/export.js';
import { openRootfs } from '../../../lib/rootfs/rootfs.js';
import { openStore } from '../../../lib/storage/open-store.js';
import { buildBase } from '../../helpers/base-build.js';
import { makeSmallImage } from '../../helpers/small-image.js';
import { makeScratch } from '../../helpers/temporary.js';

const MIB = 1024 ** 2;

/** A logger whose entries are there to be looked at. */
function makeLogger() {
  const entries: Record<string, unknown>[] = [];
  const logger = pino({ level: 'debug' }, { write: (line) => entries.push(JSON.parse(line)) });
  return { entries, logger };
}

test('long calls tell a pino logger what they found and did', async () => {
  const folder = await makeScratch();
  await using store = await openStore(path.join(folder, 'store'));
  const { reference } = await makeSmallImage(folder);
  const { build } = await buildBase({ store, reference, disk: { size: 64 * MIB } });
  const { entries, logger } = makeLogger();

  const resized = await resizeRootfs(store, build.id, { disk: { size: 128 * MIB }, logger });
  expect(entries).toContainEqual(
    expect.objectContaining({ buildId: resized.buildId, sourceBuildId: build.id, newSize: 128 * MIB }),
  );

  await using rootfs = await openRootfs(store, resized.buildId, { writable: true, logger });
  const socketPath = path.join(folder, 'disk.sock');
  await (await serve(rootfs.device, { socketPath, logger })).close();
  expect(entries).toContainEqual(expect.objectContaining({ socketPath, exportName: '' }));
  expect(entries).toContainEqual(expect.objectContaining({ socketPath, readCount: 0, errorCount: 0 }));

  await rootfs.build.verify({ deep: true, logger });
  expect(entries).toContainEqual(expect.objectContaining({ buildId: resized.buildId, isCompared: true }));
});

test('removeUnusedLayers names each layer that it removed', async () => {
  const folder = await makeScratch();
  await using store = await openStore(path.join(folder, 'store'));
  const { reference } = await makeSmallImage(folder);
  const { build } = await buildBase({ store, reference, disk: { size: 64 * MIB } });
  const { entries, logger } = makeLogger();
  const { freedBytes } = await removeUnusedLayers(store, { olderThanMs: 0, logger });
  expect(entries).toContainEqual(expect.objectContaining({ buildId: build.id, freedBytes }));
});

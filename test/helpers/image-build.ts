/** Raw images as builds: disks that others made, of which no provenance is known. */
import { randomUUID } from 'node:crypto';
import path from 'node:path';
import type { Build } from '../../lib/artifact/build.js';
import { publishBuild } from '../../lib/artifact/publish.js';
import { sealDevice } from '../../lib/native/chain.js';
import { openFileDevice } from '../../lib/native/device.js';
import type { Store } from '../../lib/storage/store.js';

export async function publishImage(store: Store, file: string): Promise<Build> {
  await using staging = await store.createStaging();
  await using device = await openFileDevice(file);
  const buildId = randomUUID();
  const disk = { dataPath: path.join(staging.path, 'data'), headerPath: path.join(staging.path, 'header') };
  const files = { diffPath: disk.dataPath, headerPath: disk.headerPath };
  await sealDevice(device, { buildId, blockSize: 4096, ...files });
  return await publishBuild(store, { buildId, disk, description: { phase: 'base' } });
}

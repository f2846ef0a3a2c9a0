/** A build whose disk takes long to read and little to store. */
import { randomUUID } from 'node:crypto';
import { truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { publishBuild } from '../../../lib/artifact/publish.js';
import { encodeHeader, openStore } from '../../../lib/index.js';

const SIZE = 512 * 1024 ** 3;

/** Publishes a disk of 512 GiB that its header calls data, and its diff, all hole, says is zeros. Gives its id. */
export async function publishSlowBuild(storePath: string): Promise<string> {
  const buildId = randomUUID();
  await using store = await openStore(storePath);
  await using staging = await store.createStaging();
  const disk = {
    dataPath: path.join(staging.path, 'data'),
    headerPath: path.join(staging.path, 'header'),
  };
  const header = encodeHeader({
    version: 3,
    blockSize: 4096,
    size: SIZE,
    generation: 0,
    buildId,
    baseBuildId: buildId,
    incomplete: false,
    mappings: [{ offset: 0, length: SIZE, buildId, storageOffset: 0 }],
    builds: [],
  });
  await writeFile(disk.headerPath, header);
  await writeFile(disk.dataPath, '');
  await truncate(disk.dataPath, SIZE);
  await publishBuild(store, { buildId, disk, description: { phase: 'base' } });
  return buildId;
}

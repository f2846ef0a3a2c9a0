/** Builds of a few bytes for tests of stores. */
import { randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { NewBuild, Store } from '../../../lib/storage/store.js';

export async function makeBuild(folder: string, buildId: string = randomUUID()): Promise<NewBuild> {
  const names = ['snapfile', 'rootfs.ext4.header', 'rootfs.ext4'] as const;
  const files = new Map(names.map((name) => [name, join(folder, `${buildId}-${name}`)] as const));
  for (const [name, path] of files) await writeFile(path, `${name} of ${buildId}`);
  return { buildId, files, metadata: { version: 2, template: { build_id: buildId } } };
}

/** Publishes such a build and gives its id. */
export async function publishSmallBuild(store: Store, buildId?: string): Promise<string> {
  await using staging = await store.createStaging();
  const build = await makeBuild(staging.path, buildId);
  await store.publish(build);
  return build.buildId;
}

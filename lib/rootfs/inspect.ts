/** Everything about one build, for a person or a program that wants to look. */

import { measureChain } from '../artifact/inventory.js';
import type { RootloomMetadata } from '../artifact/metadata.js';
import type { VerifyOptions, VerifyReport } from '../artifact/verify.js';
import type { Ext4Stats } from '../native/ext4-types.js';
import type { Store } from '../storage/store.js';
import { openRootfs } from './rootfs.js';

/** Sizes are bytes. */
export interface BuildInspection {
  /** Fields that the metadata does not tell are undefined. */
  build: { id: string } & {
    [Key in 'phase' | 'createdAt' | 'layerHash' | 'parentBuildId']: RootloomMetadata[Key] | undefined;
  };
  /** Of the disk's header. */
  disk: { size: number; blockSize: number; generation: number; version: number; mappings: number };
  filesystem: Ext4Stats;
  /** All that is stored of the build; `storedBytes` is what an object takes of the store. */
  objects: { name: string; size: number; storedBytes: number }[];
  /** How many bytes of the disk lie in each build. */
  chain: { buildId: string; bytes: number }[];
  /** How much of the data was compared with a recorded digest, and how much was not. */
  verified: VerifyReport;
}

/**
 * Verifies a build and tells what it is. With `deep`, all data is read and compared with the known digests.
 * Rejects as `Build.verify` does.
 */
export async function inspectBuild(
  store: Store,
  buildId: string,
  options: VerifyOptions = {},
): Promise<BuildInspection> {
  await using rootfs = await openRootfs(store, buildId, { signal: options.signal });
  const { build } = rootfs;
  const verified = await build.verify(options);
  const { summary } = await build.header('rootfs');
  const { phase, createdAt, layerHash, parentBuildId } = build.metadata.rootloom ?? {};
  const objects = await store.listObjects(build.id);
  return {
    build: { id: build.id, phase, createdAt, layerHash, parentBuildId },
    disk: {
      size: summary.size,
      blockSize: summary.blockSize,
      generation: summary.generation,
      version: summary.version,
      mappings: summary.mappingCount,
    },
    filesystem: await rootfs.stats({ signal: options.signal }),
    objects: [...objects].map(([name, stat]) => ({ name, ...stat })),
    chain: await measureChain(build),
    verified,
  };
}

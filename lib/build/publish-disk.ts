/** The end of a phase: seal its disk, say what it is, publish it, with a snapshot when there is one. */
import { readFile } from 'node:fs/promises';
import type { Build } from '../artifact/build.js';
import type { BuildDescription } from '../artifact/metadata.js';
import { type NewBuildParts, publishBuild } from '../artifact/publish.js';
import { isPristine } from '../rootfs/isolation.js';
import { describeProvenance } from '../rootfs/provenance.js';
import type { Strategy } from '../rootfs/strategy.js';
import { CACHE_SCOPE } from './layer-cache.js';
import type { PhaseContext } from './phase.js';
import type { SealedDisk, WorkDisk } from './work-disk.js';

/** What a phase knows of its build besides the disk. */
export type PhaseDescription = Omit<BuildDescription, 'phase' | 'layerHash' | 'cacheScope' | 'clean'>;

/** What a snapshot adds to a disk. */
export type SnapshotFiles = Required<Pick<NewBuildParts, 'memory' | 'snapfilePath'>>;

/** Where a disk comes from that was another build's, and how it got its size. A copy needs no other build. For a disk that no guest has had since. */
export function describeOrigin(source: Build, strategy: Strategy) {
  return {
    strategy,
    sourceBuildId: source.id,
    parentBuildId: strategy === 'copy' ? undefined : source.id,
    pristine: isPristine(source) || undefined,
  };
}

/** Seals the disk: nobody may write to it any more. */
export function sealDisk(context: PhaseContext, disk: WorkDisk): Promise<SealedDisk> {
  return context.step('seal disk', (options) => disk.seal(context.buildId, options));
}

/** Publishes a sealed disk, with a snapshot when there is one. */
export async function publishSealed(
  context: PhaseContext,
  disk: WorkDisk,
  sealed: SealedDisk,
  description: PhaseDescription,
  snapshot?: SnapshotFiles,
): Promise<Build> {
  const { signal, store, buildId } = context;
  const isolation = description.pristine === true ? 'none' : 'process';
  const header = await readFile(sealed.headerPath);
  const clean = await describeProvenance(disk.overlay, header, { signal, isolation });
  return context.step('publish', (options) =>
    publishBuild(
      store,
      {
        buildId,
        disk: sealed,
        ...snapshot,
        description: {
          ...description,
          phase: context.phase,
          layerHash: context.layerHash,
          cacheScope: CACHE_SCOPE,
          clean,
        },
      },
      { ...options, digestData: true },
    ),
  );
}

/** Seals and publishes. */
export async function publishDisk(
  context: PhaseContext,
  disk: WorkDisk,
  description: PhaseDescription,
): Promise<Build> {
  return publishSealed(context, disk, await sealDisk(context, disk), description);
}

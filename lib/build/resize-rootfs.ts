/** Another size for a build's disk, without provisioning or booting it: one new build that stores only the metadata changed. */
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { openBuild } from '../artifact/build.js';
import { publishBuild } from '../artifact/publish.js';
import type { CallOptions } from '../native/call.js';
import { type DiskRequest, validateDiskRequest } from '../rootfs/disk-request.js';
import { describeProvenance } from '../rootfs/provenance.js';
import { type ResizeReport, resizeDisk } from '../rootfs/resize.js';
import { type CheckPolicy, makeSound, type SoundnessReport } from '../rootfs/soundness.js';
import type { Store } from '../storage/store.js';
import { withCleaner } from '../util/cleaner.js';
import { WorkDisk } from './work-disk.js';

export interface ResizeRootfsOptions extends CallOptions {
  disk: DiskRequest;
  /** When the source's disk is checked before. Default `auto`. */
  check?: CheckPolicy | undefined;
}

/** Sizes are bytes. */
export interface ResizeRootfsResult extends ResizeReport, SoundnessReport {
  /** The new build. Its source stays as it is. */
  buildId: string;
  /** Length of the new build's diff. */
  diffBytes: number;
}

/**
 * Makes a build whose disk has the size asked for and the same files. It has no memory and no VM state: it is a disk.
 *
 * Rejects with TypeError or RangeError for a wrong request, NOT_FOUND, TOO_SMALL (`minimum` tells what would do), NO_SPACE, CORRUPT, IO, or the signal's reason; then no
 * build was made, and nothing is left behind.
 */
export async function resizeRootfs(
  store: Store,
  buildId: string,
  { disk: request, check = 'auto', ...options }: ResizeRootfsOptions,
): Promise<ResizeRootfsResult> {
  const { signal, logger } = options;
  validateDiskRequest(request);
  const source = await openBuild(store, buildId, { signal });
  return withCleaner('the resize', async (cleaner) => {
    const staging = cleaner.use('the staging folder', await store.createStaging({ signal }));
    await using disk = await WorkDisk.openOver(source, staging.path, signal);
    const soundness = await makeSound(disk.overlay, source, check, options);
    logger?.debug({ buildId: source.id, ...soundness }, 'the disk is sound');
    const report = await resizeDisk(disk.overlay, request, { ...options, scratchFolder: staging.path });
    const id = randomUUID();
    const sealed = await disk.seal(id, options);
    const clean = await describeProvenance(disk.overlay, await readFile(sealed.headerPath), { signal });
    const origin = { strategy: 'resize', sourceBuildId: source.id, parentBuildId: source.id } as const;
    const description = { phase: 'base', ...origin, clean } as const;
    await publishBuild(store, { buildId: id, disk: sealed, description }, { signal, digestData: true });
    const { diffBytes } = sealed.report;
    logger?.info(
      { buildId: id, sourceBuildId: source.id, diffBytes, ...report },
      'published the resized disk',
    );
    return { ...report, ...soundness, buildId: id, diffBytes };
  });
}

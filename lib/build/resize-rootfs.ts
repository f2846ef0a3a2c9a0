/** Another size for a build's disk, without provisioning or booting it: one new build. */
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { openBuild } from '../artifact/build.js';
import { publishBuild } from '../artifact/publish.js';
import type { CallOptions } from '../native/call.js';
import { type Isolation, validateIsolation } from '../native/isolation.js';
import { type ResizeTarget, validateResizeTarget } from '../rootfs/disk-request.js';
import { isolationOf } from '../rootfs/isolation.js';
import { describeProvenance } from '../rootfs/provenance.js';
import type { ResizeReport } from '../rootfs/resize.js';
import { type CheckPolicy, makeSound, type SoundnessReport } from '../rootfs/soundness.js';
import { type Strategy, validateStrategy } from '../rootfs/strategy.js';
import type { Store } from '../storage/store.js';
import { answerAbort } from '../util/abort.js';
import { withCleaner } from '../util/cleaner.js';
import { describeOrigin } from './publish-disk.js';
import { WorkDisk } from './work-disk.js';

export interface ResizeRootfsOptions extends CallOptions {
  /** How large the new disk is to be; `minimum`: as small as its content was seen to fit. */
  disk: ResizeTarget;
  /** When the source's disk is checked before. Default `auto`. */
  check?: CheckPolicy | undefined;
  /** How the disk gets its size. Default `resize`. */
  strategy?: Strategy | undefined;
  /** Where the engine works on the disk. Default: `none` for a disk that only this library has written, else `process`. */
  isolation?: Isolation | undefined;
}

/** Sizes are bytes. */
export interface ResizeRootfsResult extends ResizeReport, SoundnessReport {
  /** The new build. Its source stays as it is. */
  buildId: string;
  /** Length of the new build's diff. */
  diffBytes: number;
}

async function makeResizedBuild(
  store: Store,
  buildId: string,
  { disk: target, check = 'auto', strategy = 'resize', isolation: wanted, ...options }: ResizeRootfsOptions,
): Promise<ResizeRootfsResult> {
  const { signal, logger } = options;
  const source = await openBuild(store, buildId, { signal });
  return withCleaner('the resize', async (cleaner) => {
    const staging = cleaner.use('the staging folder', await store.createStaging({ signal }));
    await using sourceDisk = await WorkDisk.openOver(source, staging.path, signal);
    const isolation = await isolationOf(source, wanted);
    const engine = { ...options, isolation, scratchFolder: staging.path };
    const soundness = await makeSound(sourceDisk.overlay, source, check, engine);
    logger?.debug({ buildId: source.id, ...soundness }, 'the disk is sound');
    const { disk: resized, report } = await sourceDisk.resized(target, strategy, engine);
    await using disk = resized;
    const id = randomUUID();
    const sealed = await disk.seal(id, options);
    const header = await readFile(sealed.headerPath);
    const clean = await describeProvenance(disk.overlay, header, engine, report);
    const description = { phase: 'base', ...describeOrigin(source, strategy), clean } as const;
    const publishing = publishBuild(
      store,
      { buildId: id, disk: sealed, description },
      { signal, digestData: true },
    );
    // Freeing the overlay's file waits for the host's journal, as publishing does: both wait at once.
    await Promise.allSettled([publishing, disk.close()]);
    await publishing;
    const { diffBytes } = sealed.report;
    logger?.info(
      { buildId: id, sourceBuildId: source.id, diffBytes, ...report },
      'published the disk with its new size',
    );
    return { ...report, ...soundness, buildId: id, diffBytes };
  });
}

/** What is left of an aborted resize: its error is known already, and a build that it still published goes again. */
async function undo(store: Store, rest: Promise<ResizeRootfsResult>, reason: unknown): Promise<void> {
  try {
    const { buildId } = await rest;
    await store.remove(buildId);
  } catch (error) {
    if (error !== reason) throw error;
  }
}

/**
 * Makes a build whose disk has the size asked for and the same files. It has no memory and no VM state: it is a disk.
 *
 * Rejects with TypeError or RangeError for a wrong target, NOT_FOUND, TOO_SMALL (`minimum` tells what would do), NO_SPACE, UNSUPPORTED, CORRUPT, ENGINE_CRASHED, IO, or the signal's
 * reason; then no build was made, and nothing is left behind. An abort is answered within some 50 ms, also when a disk does not: what
 * is left of the call then belongs to the store, whose `close` waits for it.
 */
export async function resizeRootfs(
  store: Store,
  buildId: string,
  options: ResizeRootfsOptions,
): Promise<ResizeRootfsResult> {
  const { disk, strategy = 'resize', signal } = options;
  validateResizeTarget(disk);
  validateIsolation(options.isolation);
  validateStrategy(strategy);
  signal?.throwIfAborted();
  return answerAbort(makeResizedBuild(store, buildId, options), signal, (rest) =>
    store.adopt(undo(store, rest, signal?.reason)),
  );
}

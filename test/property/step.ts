/** One size change of a disk that is a chain, with the trouble that it is to meet. */
import { readFile } from 'node:fs/promises';
import { constants } from 'node:os';
import path from 'node:path';
import { openChain, sealOverlay } from '../../lib/native/chain.js';
import { createFaultyDevice, type Fault } from '../../lib/native/device-doubles.js';
import { ext4 } from '../../lib/native/ext4.js';
import type { EngineOptions, Isolation } from '../../lib/native/isolation.js';
import { createOverlay, type OverlayDevice } from '../../lib/native/overlay.js';
import type { ResizeTarget } from '../../lib/rootfs/disk-request.js';
import { rebuildDisk } from '../../lib/rootfs/rebuild.js';
import { resizeDisk } from '../../lib/rootfs/resize.js';
import type { Strategy } from '../../lib/rootfs/strategy.js';

/** A published disk, as far as this test needs one: its header, and where the diffs are. */
export interface Chain {
  size: number;
  header: Buffer;
  diffs: Record<string, { path: string }>;
  /** Whether e2fsck had something to put right after the resize that made it. */
  isCorrected?: boolean;
}

export interface Step {
  strategy: Strategy;
  request: ResizeTarget;
  disturbance: 'none' | 'abort' | 'read-error' | 'write-error';
  /** Before the abort, in milliseconds; or how many operations go well. */
  after: number;
  isolation: Isolation;
}

/** Where a step puts what it makes. */
export interface Places {
  /** Of the new build, in folder. */
  buildId: string;
  folder: string;
  /** For what nobody keeps. */
  work: string;
}

export class Aborted extends Error {}

export const isSize = (target: ResizeTarget): target is { size: number } =>
  typeof target === 'object' && 'size' in target;

/** The files that a new disk is written to. The first has no name for long. */
export function writtenFiles({ buildId, folder, work }: Places) {
  return {
    upper: path.join(work, 'upper'),
    diff: path.join(folder, `${buildId}.diff`),
    header: path.join(folder, `${buildId}.header`),
  };
}

/** How many writes a resize has at least. */
const LEAST_WRITES = 8;

function fail(operation: 'read' | 'write', skip: number): Fault {
  return { operation, skip, errno: constants.errno.EIO };
}

async function resize(
  overlay: OverlayDevice,
  { request, disturbance, after }: Step,
  options: EngineOptions,
): Promise<{ isCorrected: boolean }> {
  if (disturbance !== 'write-error' || !isSize(request) || request.size < overlay.size) {
    const { resultCorrected: isCorrected } = await resizeDisk(overlay, request, options);
    return { isCorrected };
  }
  await overlay.resize(request.size);
  await using faulty = createFaultyDevice(overlay, { faults: [fail('write', after % LEAST_WRITES)] });
  const { corrected: isCorrected } = await ext4.resize(faulty, { size: request.size }, options);
  return { isCorrected };
}

/** The chain that `seal` makes, on top of `parent`. */
export async function sealedChain(
  parent: Chain,
  places: Places,
  seal: (request: { buildId: string; diffPath: string; headerPath: string }) => Promise<{ size: number }>,
): Promise<Chain> {
  const { buildId } = places;
  const { diff: diffPath, header: headerPath } = writtenFiles(places);
  const { size } = await seal({ buildId, diffPath, headerPath });
  return {
    size,
    header: await readFile(headerPath),
    diffs: { ...parent.diffs, [buildId]: { path: diffPath } },
  };
}

/**
 * The chain of the disk with its new size. A write error is one of the device on which a filesystem grows; for those of files see
 * `performWithFault`.
 */
export async function performStep(chain: Chain, step: Step, places: Places): Promise<Chain> {
  const { disturbance, after, isolation, strategy } = step;
  const { work } = places;
  const controller = new AbortController();
  const timer =
    disturbance === 'abort' ? setTimeout(() => controller.abort(new Aborted('Aborted')), after) : undefined;
  const options = { signal: controller.signal, scratchFolder: work, isolation };
  try {
    await using opened = await openChain(chain);
    const faults = disturbance === 'read-error' ? [fail('read', after)] : [];
    await using base = createFaultyDevice(opened, { faults });
    const { upper } = writtenFiles(places);
    const upperPath = strategy === 'resize' ? upper : path.join(work, 'source');
    await using overlay = await createOverlay(base, { upperPath });
    if (strategy === 'resize') {
      const result = await resize(overlay, step, options);
      const sealed = await sealedChain(chain, places, (request) =>
        sealOverlay(overlay, { ...request, parentHeader: chain.header }, options),
      );
      return { ...sealed, ...result };
    }
    const rebuilt = await rebuildDisk(overlay, step.request, {
      ...options,
      upperPath: upper,
      parentHeader: strategy === 'rebuild' ? chain.header : undefined,
    });
    await using disk = rebuilt.overlay;
    const parent = strategy === 'rebuild' ? chain : { ...chain, diffs: {} };
    return await sealedChain(parent, places, (request) =>
      sealOverlay(disk, { ...request, parentHeader: rebuilt.parentHeader }, options),
    );
  } finally {
    clearTimeout(timer);
  }
}

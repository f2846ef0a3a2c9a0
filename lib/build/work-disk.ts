/** The disk of a phase under way: an overlay in the phase's staging folder, until it is sealed. */
import path from 'node:path';
import type { Build } from '../artifact/build.js';
import type { CallOptions } from '../native/call.js';
import { type SealReport, sealOverlay } from '../native/chain.js';
import { createZeroDevice, type Device } from '../native/device.js';
import type { EngineOptions } from '../native/isolation.js';
import { createOverlay, type OverlayDevice } from '../native/overlay.js';
import { DISK_BLOCK_BYTES, type ResizeTarget } from '../rootfs/disk-request.js';
import { type RebuiltDiskReport, rebuildDisk } from '../rootfs/rebuild.js';
import { type ResizeReport, resizeDisk } from '../rootfs/resize.js';
import type { Strategy } from '../rootfs/strategy.js';

/** What a sealed disk gives to publish. */
export interface SealedDisk {
  dataPath: string;
  headerPath: string;
  diffSha256: string | undefined;
  report: SealReport;
}

/** Its owner closes it; what was not sealed by then is gone. Several may be made in one folder, one after the other or at once. */
export class WorkDisk implements AsyncDisposable {
  private constructor(
    readonly overlay: OverlayDevice,
    private readonly staging: string,
    private readonly parentHeader: Uint8Array | undefined,
  ) {}

  /** A disk of zeros. The caller closes it. */
  static async createEmpty(staging: string, size: number, signal?: AbortSignal): Promise<WorkDisk> {
    await using base = createZeroDevice({ size, blockSize: DISK_BLOCK_BYTES });
    return await WorkDisk.#over(base, staging, undefined, signal);
  }

  /** A writable view of a build's disk; the build stays as it is. The caller closes it. */
  static async openOver(build: Build, staging: string, signal?: AbortSignal): Promise<WorkDisk> {
    await using base = await build.openDisk({ signal });
    return await WorkDisk.#over(base, staging, await build.readHeader('rootfs'), signal);
  }

  static async #over(
    base: Device,
    staging: string,
    parentHeader: Uint8Array | undefined,
    signal: AbortSignal | undefined,
  ): Promise<WorkDisk> {
    const upperPath = path.join(staging, 'rootfs.upper');
    const overlay = await createOverlay(base, { upperPath, blockSize: DISK_BLOCK_BYTES, signal });
    return new WorkDisk(overlay, staging, parentHeader);
  }

  /**
   * The disk with another size: this one, resized in place, or a new one, for which this one is needed no longer but to be closed.
   * The caller closes both. Rejects as `resizeDisk` and `rebuildDisk` do; this one is of no use then.
   */
  async resized(
    target: ResizeTarget,
    strategy: Strategy,
    options: EngineOptions,
  ): Promise<{ disk: WorkDisk; report: ResizeReport | RebuiltDiskReport }> {
    const scratch = { ...options, scratchFolder: this.staging };
    if (strategy === 'resize') {
      return { disk: this, report: await resizeDisk(this.overlay, target, scratch) };
    }
    const { overlay, parentHeader, report } = await rebuildDisk(this.overlay, target, {
      ...scratch,
      upperPath: path.join(this.staging, 'rootfs.upper'),
      parentHeader: strategy === 'rebuild' ? this.parentHeader : undefined,
    });
    return { disk: new WorkDisk(overlay, this.staging, parentHeader), report };
  }

  /** Ends writing and packs what changed into files of the staging folder. Whoever writes must have stopped. */
  async seal(buildId: string, options: CallOptions): Promise<SealedDisk> {
    const dataPath = path.join(this.staging, 'rootfs.ext4');
    const headerPath = path.join(this.staging, 'rootfs.ext4.header');
    const parent = this.parentHeader === undefined ? {} : { parentHeader: this.parentHeader };
    const report = await sealOverlay(
      this.overlay,
      { buildId, diffPath: dataPath, headerPath, ...parent, digest: true },
      options,
    );
    return { dataPath, headerPath, diffSha256: report.diffSha256, report };
  }

  close(): Promise<void> {
    return this.overlay.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

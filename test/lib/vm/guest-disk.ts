/** Disks for guests: overlays on the shared image, on offer in a run directory. */
import path from 'node:path';
import { type Device, openFileDevice } from '../../../lib/native/device.js';
import { type Export, type ExportStats, serve } from '../../../lib/native/export.js';
import { createOverlay } from '../../../lib/native/overlay.js';
import { RunDir } from '../../../lib/vm/run-dir.js';

export class GuestDisk implements AsyncDisposable {
  private constructor(
    /** What the guest sees. */
    readonly device: Device,
    private readonly exported: Export,
    readonly runDir: RunDir,
  ) {}

  /** A private copy of what `base` (an image file, or a device that stays open) has now. */
  static async create(base: string | Device, folder: string): Promise<GuestDisk> {
    const device = typeof base === 'string' ? await openFileDevice(base) : base;
    const runDir = await RunDir.create();
    const overlay = await createOverlay(device, { upperPath: path.join(folder, path.basename(runDir.path)) });
    if (typeof base === 'string') await device.close();
    return new GuestDisk(overlay, await serve(overlay, { socketPath: runDir.file('disk.sock') }), runDir);
  }

  get socketPath(): string {
    return this.exported.socketPath;
  }

  get stats(): ExportStats {
    return this.exported.stats();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.exported.close();
    await this.device.close();
    await this.runDir.remove();
  }
}

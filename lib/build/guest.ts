/** A virtual machine on one of our disks: the disk served on a socket of the machine's run directory, and the machine. */
import type { Logger } from 'pino';
import type { Device } from '../native/device.js';
import { type Export, serve } from '../native/export.js';
import { Cleaner } from '../util/cleaner.js';
import type { RestoreSpec, StartOptions, Vm, VmDriver, VmSpec } from '../vm/driver.js';
import { RunDir } from '../vm/run-dir.js';

/** The socket's name in the run directory. */
const DISK_SOCKET = 'disk.sock';

/** How long closing may take: the export flushes what the guest wrote. */
const CLOSE_TIMEOUT_MS = 120_000;

export interface GuestOptions {
  signal?: AbortSignal | undefined;
  logger?: Logger | undefined;
}

type Start = (disk: { runDir: RunDir; disk: { socketPath: string } }, options: StartOptions) => Promise<Vm>;

/**
 * Owns the machine and the export of its disk; the disk stays its owner's. `close` ends the machine, then drains and flushes
 * the export: when it resolves, everything that the guest was told to be durable is on the disk. It rejects when that failed.
 */
export class Guest implements AsyncDisposable {
  private constructor(
    readonly vm: Vm,
    private readonly cleaner: Cleaner,
  ) {}

  /** Boots a machine on the disk. */
  static boot(
    driver: VmDriver,
    disk: Device,
    spec: Omit<VmSpec, 'disk' | 'runDir'>,
    options: GuestOptions,
  ): Promise<Guest> {
    return Guest.#start(disk, (resources, start) => driver.create({ ...spec, ...resources }, start), options);
  }

  /** Goes on with a snapshotted machine on the disk. */
  static restore(
    driver: VmDriver,
    disk: Device,
    spec: Omit<RestoreSpec, 'disk' | 'runDir'>,
    options: GuestOptions,
  ): Promise<Guest> {
    return Guest.#start(
      disk,
      (resources, start) => driver.restore({ ...spec, ...resources }, start),
      options,
    );
  }

  static async #start(disk: Device, start: Start, options: GuestOptions): Promise<Guest> {
    const cleaner = new Cleaner('the virtual machine', { timeoutMs: CLOSE_TIMEOUT_MS });
    try {
      const runDir = cleaner.use('the run directory', await RunDir.create({ signal: options.signal }));
      const socketPath = runDir.file(DISK_SOCKET);
      const served: Export = await serve(disk, { socketPath, signal: options.signal });
      cleaner.use('the export of the disk', served);
      const vm = await start({ runDir, disk: { socketPath } }, options);
      cleaner.use('the machine', vm);
      return new Guest(vm, cleaner.move('the virtual machine'));
    } catch (error) {
      return cleaner.runAfter(error);
    }
  }

  close(): Promise<void> {
    return this.cleaner.run();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

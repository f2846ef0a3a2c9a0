/** A virtual machine on one of our disks: the disk served on a socket of the machine's run directory, and the machine. */
import { statfs } from 'node:fs/promises';
import path from 'node:path';
import type { Logger } from 'pino';
import { isRootloomError, RootloomError } from '../errors.js';
import { type Export, serve } from '../native/export.js';
import type { OverlayDevice } from '../native/overlay.js';
import { LinkedController } from '../util/abort.js';
import { Cleaner } from '../util/cleaner.js';
import { withSystemErrors } from '../util/system-error.js';
import type { RestoreSpec, StartOptions, Vm, VmDriver, VmSpec } from '../vm/driver.js';
import { RunDir } from '../vm/run-dir.js';

/** The socket's name in the run directory. */
const DISK_SOCKET = 'disk.sock';

/** How long closing may take: the export flushes what the guest wrote, on a disk that may be slow. */
const CLOSE_TIMEOUT_MS = 120_000;

/** A filesystem with less than that is full: the next page of a machine's memory finds no room. In bytes. */
const FULL_BYTES = 64 * 1024;

export interface GuestOptions {
  signal?: AbortSignal | undefined;
  logger?: Logger | undefined;
}

type Start = (
  resources: { runDir: RunDir; disk: { socketPath: string } },
  options: StartOptions,
) => Promise<Vm>;

async function availableIn(folder: string): Promise<number> {
  const { bavail, bsize } = await withSystemErrors('look at', folder, () => statfs(folder));
  return bavail * bsize;
}

/** A page of memory for which the host has no room would end the machine without a word. */
async function assertRoomForMemory(folder: string, memoryBytes: number): Promise<void> {
  const available = await availableIn(folder);
  if (available >= memoryBytes) return;
  const message = `Cannot start a virtual machine: ${folder} has room for ${available} bytes, its memory may take ${memoryBytes}`;
  throw new RootloomError('NO_SPACE', message, { operation: 'start a virtual machine', path: folder });
}

/**
 * Owns the machine and the export of its disk; the disk stays its owner's. It ends with this process, however that ends.
 *
 * What the guest is told about its disk, and what a user of this class is told, are two things: when the disk could not take a write
 * (a full host, say), the guest sees an I/O error and does something strange; `use` rejects with what the disk says.
 */
export class Guest implements AsyncDisposable {
  #isKept = false;
  #flushError: unknown;

  private constructor(
    readonly vm: Vm,
    private readonly disk: OverlayDevice,
    private readonly served: Export,
    private readonly cleaner: Cleaner,
  ) {
    cleaner.defer('the export of the disk', () => this.#closeExport());
    cleaner.use('the machine', vm);
  }

  /**
   * Boots a machine on the disk. Rejects with NO_SPACE when the folder of its memory file has no room for all of it, as
   * `VmDriver.create` does, or with the signal's reason; nothing is left then.
   */
  static async boot(
    driver: VmDriver,
    disk: OverlayDevice,
    spec: Omit<VmSpec, 'disk' | 'runDir'> & { memoryBytes: number; memoryPath: string },
    options: GuestOptions,
  ): Promise<Guest> {
    await assertRoomForMemory(path.dirname(spec.memoryPath), spec.memoryBytes);
    return Guest.#start(disk, (resources, start) => driver.create({ ...spec, ...resources }, start), options);
  }

  /** Goes on with a snapshotted machine on the disk. Rejects as `VmDriver.restore` does; nothing is left then. */
  static restore(
    driver: VmDriver,
    disk: OverlayDevice,
    spec: Omit<RestoreSpec, 'disk' | 'runDir'>,
    options: GuestOptions,
  ): Promise<Guest> {
    return Guest.#start(
      disk,
      (resources, start) => driver.restore({ ...spec, ...resources }, start),
      options,
    );
  }

  static async #start(disk: OverlayDevice, start: Start, options: GuestOptions): Promise<Guest> {
    const cleaner = new Cleaner('the virtual machine', { timeoutMs: CLOSE_TIMEOUT_MS });
    try {
      const runDir = cleaner.use('the run directory', await RunDir.create({ signal: options.signal }));
      const socketPath = runDir.file(DISK_SOCKET);
      const served = await serve(disk, { socketPath, signal: options.signal });
      const closeEarly = () => served.discard();
      cleaner.defer('the export of the disk', closeEarly);
      const vm = await start({ runDir, disk: { socketPath } }, options);
      cleaner.dismiss(closeEarly);
      return new Guest(vm, disk, served, cleaner.move('the virtual machine'));
    } catch (error) {
      return await cleaner.runAfter(error);
    }
  }

  /**
   * Runs `body` with the machine, and closes it. When the disk fails meanwhile, the signal of `body` fires at once, and the disk's
   * error comes through whatever the guest made of it.
   */
  async use<Value>(
    signal: AbortSignal,
    body: (vm: Vm, signal: AbortSignal) => Promise<Value>,
  ): Promise<Value> {
    let value: Value;
    try {
      using controller = new LinkedController(signal);
      const diskFailure = this.#diskFailure();
      void this.vm.diskFailed.then(() => controller.abort(diskFailure));
      value = await body(this.vm, controller.signal);
    } catch (error) {
      return await this.cleaner.runAfter(signal.aborted ? error : await this.#explain(error));
    }
    await this.close();
    return value;
  }

  /**
   * Ends the machine, then drains and flushes the export: when it resolves, everything that the guest was told to be durable is on
   * the disk. Rejects with the disk's error when that failed, or with CLEANUP_FAILED. Idempotent.
   */
  async close(): Promise<void> {
    this.#isKept = true;
    await this.cleaner.run();
    if (this.#flushError !== undefined) throw this.#flushError;
  }

  /** The same for a disk that is thrown away: it is not flushed. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.cleaner.run();
  }

  async #closeExport(): Promise<void> {
    if (!this.#isKept) return this.served.discard();
    try {
      await this.served.close();
    } catch (error) {
      this.#flushError = error;
    }
  }

  /** What is behind an error of the guest, when that is on our side. */
  async #explain(error: unknown): Promise<unknown> {
    try {
      await this.disk.freeze();
    } catch (cause) {
      if (!isRootloomError(cause)) return cause;
      const message = `Cannot keep what the guest wrote: ${cause.message}`;
      return new RootloomError(cause.code, message, cause.context, { cause: error });
    }
    if (!isRootloomError(error, 'VM_FAILED')) return error;
    const folder = path.dirname(this.vm.memoryPath);
    if ((await availableIn(folder)) > FULL_BYTES) return error;
    const message = `Cannot go on with the virtual machine: ${folder} is full, room for its memory was wanted`;
    return new RootloomError('NO_SPACE', message, { path: folder }, { cause: error });
  }

  #diskFailure(): RootloomError {
    const message = 'Cannot go on with the virtual machine: a request to its disk has failed';
    return new RootloomError('IO', message, { operation: 'serve the disk of a guest' });
  }
}

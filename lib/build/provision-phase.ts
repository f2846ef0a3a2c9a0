/** The provision phase: the disk boots with busybox as init, and a script installs what a sandbox needs and is not there. */
import path from 'node:path';
import type { Build } from '../artifact/build.js';
import { isRootloomError, RootloomError } from '../errors.js';
import { ext4 } from '../native/ext4.js';
import { PROVISIONING_INIT } from '../rootfs/provisioning/config.js';
import { ProvisioningConsole } from '../rootfs/provisioning/console.js';
import { type FitRequest, fitDisk } from '../rootfs/resize.js';
import { raceAbort } from '../util/abort.js';
import type { JsonValue } from '../util/digest.js';
import { withDeadline } from '../vm/deadline.js';
import type { Vm } from '../vm/driver.js';
import { Guest } from './guest.js';
import { diskInputs, type Machine } from './machine.js';
import type { Phase, PhaseContext } from './phase.js';
import { publishDisk } from './publish-disk.js';
import { BOOT_ROOM_BYTES } from './room.js';
import { WorkDisk } from './work-disk.js';

/** For powering off after the exit line; the filesystem is clean by then. */
const POWER_OFF_TIMEOUT_MS = 30_000;

/**
 * An emulator translates code anew at each address where it runs. Of the thousands of programs that a package manager starts, each
 * would have its own; with all at the same addresses, a start costs a fifth. The machine runs nothing but the script.
 */
const EMULATED_KERNEL_ARGUMENTS = ['norandmaps'];

export class ProvisionPhase implements Phase {
  readonly name = 'provision';
  readonly inputs: JsonValue;

  /** @param fit What a disk asked for by its free space is fitted to; it follows from the base's inputs. */
  constructor(
    private readonly machine: Machine,
    private readonly fit: FitRequest | undefined,
  ) {
    this.inputs = { machine: diskInputs(machine) };
  }

  async run(context: PhaseContext, parent: Build): Promise<void> {
    const { fit } = this;
    await using disk = await WorkDisk.openOver(parent, context.staging, context.signal);
    await context.step('provision', () => this.#provision(disk, context));
    await context.step('replay journal', (options) => ext4.replayJournal(disk.overlay, options));
    if (fit !== undefined) {
      const request = { ...fit, free: fit.free + BOOT_ROOM_BYTES };
      const scratchFolder = context.staging;
      await context.step('fit to free space', (options) =>
        fitDisk(disk.overlay, request, { ...options, scratchFolder }),
      );
    }
    await publishDisk(context, disk, { parentBuildId: parent.id });
  }

  async #provision(disk: WorkDisk, context: PhaseContext): Promise<void> {
    const { driver, kernel, memoryBytes, cpus } = this.machine;
    const kernelArguments = driver.acceleration.accelerator === 'tcg' ? EMULATED_KERNEL_ARGUMENTS : [];
    const memoryPath = path.join(context.staging, 'memory');
    const init = PROVISIONING_INIT;
    const spec = { kernel, kernelArguments, memoryBytes, cpus, memoryPath, init, network: true };
    const guest = await Guest.boot(driver, disk.overlay, spec, { signal: context.signal });
    await guest.use(context.signal, async (vm, signal) => {
      await this.#followScript(vm, context, signal);
      await waitForPowerOff(vm, signal);
    });
  }

  /** Waits for the script's exit line, and throws what it means. */
  async #followScript(vm: Vm, context: PhaseContext, signal: AbortSignal): Promise<void> {
    const timeoutMs = this.machine.provisionTimeoutMs;
    const scanner = new ProvisioningConsole((line) => context.log(line));
    const message = `Cannot provision the disk: the script has not ended after ${timeoutMs / 1000} s`;
    const makeError = () =>
      new RootloomError('GUEST_TIMEOUT', message, {
        operation: 'provision the disk',
        logTail: scanner.logTail,
      });
    let unfollow = () => {};
    const exitLine = new Promise<void>((resolve) => {
      unfollow = vm.console.follow((line) => scanner.accept(line) && resolve());
    });
    try {
      await withDeadline({ signal, timeoutMs }, makeError, (deadline) =>
        raceAbort(Promise.race([exitLine, vm.console.ended]), deadline),
      );
    } finally {
      unfollow();
    }
    // An emulator that failed is no guest that did.
    if (scanner.exitCode === undefined) await vm.waitForExit({ signal });
    scanner.throwIfFailed();
  }
}

/** The machine may be stopped from the exit line on; a guest that does not power off is not worth an error. */
async function waitForPowerOff(vm: Vm, signal: AbortSignal): Promise<void> {
  try {
    await vm.waitForExit({ signal, timeoutMs: POWER_OFF_TIMEOUT_MS });
  } catch (error) {
    if (!isRootloomError(error, 'GUEST_TIMEOUT')) throw error;
  }
}

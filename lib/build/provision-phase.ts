/** The provision phase: the disk boots with busybox as init, and a script installs what a sandbox needs and is not there. */
import type { Build } from '../artifact/build.js';
import { isRootloomError, RootloomError } from '../errors.js';
import { ext4 } from '../native/ext4.js';
import type { DiskRequest } from '../rootfs/disk-request.js';
import { PROVISIONING_INIT } from '../rootfs/provisioning/config.js';
import { ProvisioningConsole } from '../rootfs/provisioning/console.js';
import { shrinkUntilFree } from '../rootfs/resize.js';
import { raceAbort } from '../util/abort.js';
import type { JsonValue } from '../util/digest.js';
import type { Vm } from '../vm/driver.js';
import { Guest } from './guest.js';
import type { Machine } from './machine.js';
import type { Phase, PhaseContext } from './phase.js';
import { publishDisk } from './publish-disk.js';
import { WorkDisk } from './work-disk.js';

/** For powering off after the exit line; the filesystem is clean by then. */
const POWER_OFF_TIMEOUT_MS = 30_000;

/**
 * What a boot may write before its snapshot: logs, machine id, caches. A disk asked for by its free space keeps that much
 * more, and the template phase checks that it was enough.
 */
export const BOOT_ROOM_BYTES = 64 * 1024 * 1024;

export class ProvisionPhase implements Phase {
  readonly name = 'provision';
  readonly inputs: JsonValue;

  constructor(
    private readonly machine: Machine,
    private readonly disk: DiskRequest | undefined,
  ) {
    this.inputs = { machine: machine.inputs };
  }

  async run(context: PhaseContext, parent: Build): Promise<void> {
    await using disk = await WorkDisk.openOver(parent, context.staging);
    await context.step('provision', () => this.#provision(disk, context));
    const { disk: request } = this;
    await context.step('replay journal', (options) => ext4.replayJournal(disk.overlay, options));
    if (request !== undefined && 'free' in request) {
      const free = request.free + BOOT_ROOM_BYTES;
      await context.step('fit to free space', (options) => shrinkUntilFree(disk.overlay, free, options));
    }
    await publishDisk(context, disk, { parentBuildId: parent.id });
  }

  async #provision(disk: WorkDisk, context: PhaseContext): Promise<void> {
    const { driver, kernel, memoryBytes, cpus } = this.machine;
    const spec = { kernel, memoryBytes, cpus, init: PROVISIONING_INIT, network: true };
    await using guest = await Guest.boot(driver, disk.overlay, spec, { signal: context.signal });
    await followScript(guest.vm, this.machine.provisionTimeoutMs, context);
    await waitForPowerOff(guest.vm, context.signal);
  }
}

/** Waits for the script's exit line, and throws what it means. */
async function followScript(vm: Vm, timeoutMs: number, context: PhaseContext): Promise<void> {
  const scanner = new ProvisioningConsole((line) => context.log(line));
  const deadline = AbortSignal.timeout(timeoutMs);
  let unfollow = () => {};
  const exitLine = new Promise<void>((resolve) => {
    unfollow = vm.console.follow((line) => scanner.accept(line) && resolve());
  });
  try {
    await raceAbort(Promise.race([exitLine, vm.console.ended]), AbortSignal.any([context.signal, deadline]));
  } catch (error) {
    if (!deadline.aborted || context.signal.aborted) throw error;
    throw new RootloomError(
      'GUEST_TIMEOUT',
      `Cannot provision the disk: the script has not ended after ${timeoutMs / 1000} s`,
      { operation: 'provision the disk', logTail: scanner.logTail },
    );
  } finally {
    unfollow();
  }
  scanner.throwIfFailed();
}

/** The machine may be stopped from the exit line on; a guest that does not power off is not worth an error. */
async function waitForPowerOff(vm: Vm, signal: AbortSignal): Promise<void> {
  try {
    await vm.waitForExit({ signal, timeoutMs: POWER_OFF_TIMEOUT_MS });
  } catch (error) {
    if (!isRootloomError(error, 'GUEST_TIMEOUT')) throw error;
  }
}

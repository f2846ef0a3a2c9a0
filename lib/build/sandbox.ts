/** Sandboxes: virtual machines that go on from a template's snapshot, each on an overlay of its own. */
import path from 'node:path';
import { type Build, openBuild } from '../artifact/build.js';
import { RootloomError } from '../errors.js';
import type { CallOptions } from '../native/call.js';
import { copyDeviceToFile } from '../native/device.js';
import { createOverlay } from '../native/overlay.js';
import { DISK_BLOCK_BYTES } from '../rootfs/disk-request.js';
import type { Store } from '../storage/store.js';
import { Cleaner } from '../util/cleaner.js';
import type { Vm } from '../vm/driver.js';
import type { ExecOptions, ExecResult, GuestAgent } from '../vm/guest-agent.js';
import { type MachineDescription, machineDescription } from '../vm/machine.js';
import { openQemuDriver } from '../vm/qemu.js';
import { Guest } from './guest.js';

/**
 * The signal aborts the start; the sandbox that has started is its owner's to close. Progress is that of the memory, which is
 * brought into a file first. The logger gets how the machine was started.
 */
export type StartSandboxOptions = CallOptions;

/**
 * A running sandbox. Its disk and memory are its own and are thrown away when it is closed; the template never changes, and must
 * stay in its store until then. It ends with this process, however that ends.
 */
export class Sandbox implements AsyncDisposable {
  /** For `startSandbox` only. */
  constructor(
    /** The template's build. */
    readonly buildId: string,
    /** The machine: its state and its console. `close` the sandbox, not the machine. */
    readonly vm: Vm,
    private readonly agent: GuestAgent,
    private readonly cleaner: Cleaner,
  ) {}

  /**
   * Runs a program in the guest, as root, and waits for its end, by default for 5 minutes; its exit code is data, not an error. Any
   * number of programs may run at once. Rejects with GUEST_TIMEOUT, VM_FAILED, GUEST_FAILED when the program cannot be
   * started, or the signal's reason; a program that was given up is killed, as far as the guest still answers.
   */
  exec(command: readonly [string, ...string[]], options: ExecOptions = {}): Promise<ExecResult> {
    return this.agent.exec(command, options);
  }

  /** Ends the machine and removes everything that was its own; programs that run are lost. Rejects with CLEANUP_FAILED. Idempotent. */
  close(): Promise<void> {
    return this.cleaner.run();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/**
 * Resumes a sandbox from a template's snapshot: memory private and lazy, a fresh overlay over the disk, the clock set, the
 * filesystem thawed.
 *
 * Rejects with NOT_FOUND for an unknown build, INVALID_ARGUMENT for a build without a snapshot, UNSUPPORTED when this host cannot go
 * on with it, CORRUPT, TOOL_MISSING, VM_FAILED, GUEST_TIMEOUT, IO, NO_SPACE, or the signal's reason; nothing is left then.
 */
export async function startSandbox(
  store: Store,
  buildId: string,
  options: StartSandboxOptions = {},
): Promise<Sandbox> {
  const { signal, onProgress, logger } = options;
  const what = `the sandbox of ${buildId}`;
  const cleaner = new Cleaner(what);
  try {
    const build = await openBuild(store, buildId, { signal });
    const machine = readMachine(build);
    const driver = await openQemuDriver(options);
    const staging = cleaner.use('the temporary folder', await store.createStaging({ signal }));
    const memoryFile = path.join(staging.path, 'memory');
    {
      await using memory = await build.openMemory({ signal });
      await copyDeviceToFile(memory, memoryFile, { signal, onProgress });
    }
    const chain = cleaner.use('the disk', await build.openDisk({ signal }));
    const upperPath = path.join(staging.path, 'rootfs.upper');
    const overlay = cleaner.use(
      'the overlay',
      await createOverlay(chain, { upperPath, blockSize: DISK_BLOCK_BYTES, signal }),
    );
    const snapshot = { machine, stateFile: await build.snapfilePath(), memoryFile };
    const guest = cleaner.use('the machine', await Guest.restore(driver, overlay, { snapshot }, options));
    const agent = await guest.vm.agent({ signal });
    await agent.thaw({ signal });
    await agent.setTime(new Date(), { signal });
    logger?.info({ buildId: build.id }, 'the sandbox goes on from its snapshot');
    return new Sandbox(build.id, guest.vm, agent, cleaner.move(what));
  } catch (error) {
    return await cleaner.runAfter(error);
  }
}

/** What the snapshot of a template needs to go on. */
function readMachine({ id, metadata }: Build): MachineDescription {
  const { vm } = metadata.rootloom ?? {};
  if (vm === undefined) {
    const message = `Cannot start a sandbox from ${id}: it has no snapshot, a template was wanted`;
    throw new RootloomError('INVALID_ARGUMENT', message, { buildId: id });
  }
  const parsed = machineDescription.safeParse(vm);
  if (parsed.success) return parsed.data;
  const message = `Cannot start a sandbox from ${id}: its metadata does not describe a machine that is known`;
  throw new RootloomError('CORRUPT', message, { buildId: id }, { cause: parsed.error });
}

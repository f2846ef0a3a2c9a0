/** The template phase: the disk boots with its own init, and the machine is snapshotted as soon as it is up and at rest. */
import { rm } from 'node:fs/promises';
import path from 'node:path';
import type { Build } from '../artifact/build.js';
import { isRootloomError, RootloomError } from '../errors.js';
import { sealDevice } from '../native/chain.js';
import { openFileDevice } from '../native/device.js';
import { ext4 } from '../native/ext4.js';
import { DISK_BLOCK_BYTES } from '../rootfs/disk-request.js';
import { resizeDisk } from '../rootfs/resize.js';
import type { JsonValue } from '../util/digest.js';
import type { Vm, VmSnapshot } from '../vm/driver.js';
import type { GuestAgent } from '../vm/guest-agent.js';
import { assertCompatible, machineDescription } from '../vm/machine.js';
import { Guest } from './guest.js';
import { type Machine, snapshotInputs } from './machine.js';
import type { Phase, PhaseContext } from './phase.js';
import { publishSealed, type SnapshotFiles, sealDisk } from './publish-disk.js';
import { BOOT_ROOM_BYTES } from './room.js';
import { WorkDisk } from './work-disk.js';

/** Waits until systemd has nothing left to start, so that no sandbox resumes in the middle of a boot; other inits have reached their runlevel when the agent runs. */
const SETTLE_SCRIPT = `if [ -d /run/systemd/system ]; then
  systemctl is-system-running --wait
  case $(systemctl is-system-running) in running|degraded) exit 0 ;; *) exit 1 ;; esac
fi`;

/** How often a disk asked for by its free space is booted, each time with the room that the boot before has shown to need. */
const MAX_BOOTS = 3;

/** A snapshotted machine and its disk. */
interface Snapshotted {
  disk: WorkDisk;
  snapshot: VmSnapshot;
}

export class SnapshotPhase implements Phase {
  readonly name = 'template';
  readonly inputs: JsonValue;

  /** @param free What is to be free for the user in the snapshot, in bytes; it follows from the base's inputs. */
  constructor(
    private readonly machine: Machine,
    private readonly free: number | undefined,
  ) {
    this.inputs = { machine: snapshotInputs(machine) };
  }

  accepts({ metadata }: Build): boolean {
    const { data } = machineDescription.safeParse(metadata.rootloom?.vm);
    if (data === undefined) return false;
    try {
      assertCompatible(data, this.machine.driver.host);
      return true;
    } catch (error) {
      if (isRootloomError(error, 'UNSUPPORTED')) return false;
      throw error;
    }
  }

  async run(context: PhaseContext, parent: Build): Promise<void> {
    const { disk, snapshot } = await this.#bootUntilFree(parent, context);
    await using _disk = disk;
    const sealed = await sealDisk(context, disk);
    const files = await sealSnapshot(snapshot, context);
    const reference = { kernel_version: this.machine.kernel.description.version };
    const description = { parentBuildId: parent.id, vm: snapshot.machine, reference };
    await publishSealed(context, disk, sealed, description, files);
  }

  /** What was promised to be free has to be free in the snapshot, too: a boot that writes more than expected is repeated. */
  async #bootUntilFree(parent: Build, context: PhaseContext): Promise<Snapshotted> {
    let room = BOOT_ROOM_BYTES;
    for (let boot = 1; ; boot += 1) {
      const disk = await WorkDisk.openOver(parent, context.staging, context.signal);
      try {
        const snapshot = await this.#boot(disk, room, context);
        const missing = await this.#missing(disk, context.signal);
        if (missing <= 0) return { disk, snapshot };
        if (boot === MAX_BOOTS) throw this.#neverFree(missing);
        room += missing + BOOT_ROOM_BYTES;
        context.log(`The boot left ${missing} bytes too little free; booting again with more`);
        await removeSnapshot(snapshot, context);
      } catch (error) {
        await disk.close();
        throw error;
      }
      await disk.close();
    }
  }

  async #boot(disk: WorkDisk, room: number, context: PhaseContext): Promise<VmSnapshot> {
    const { free } = this;
    if (free !== undefined) {
      await context.step('grow for the boot', (options) =>
        resizeDisk(disk.overlay, { free: free + room }, { ...options, scratchFolder: context.staging }),
      );
    }
    const { driver, kernel, memoryBytes, cpus } = this.machine;
    const memoryPath = path.join(context.staging, 'memory');
    const spec = { kernel, memoryBytes, cpus, memoryPath, network: true };
    const guest = await context.step('start machine', ({ signal }) =>
      Guest.boot(driver, disk.overlay, spec, { signal }),
    );
    return await guest.use(context.signal, async (vm, signal) => {
      const agent = await this.#waitUntilSettled(vm, context, signal);
      return await context.step('freeze, pause and snapshot', async () => {
        await agent.exec(['/bin/sync'], { signal });
        await agent.freeze({ signal });
        await vm.pause({ signal });
        return await vm.snapshot(path.join(context.staging, 'snapshot'), { signal });
      });
    });
  }

  async #waitUntilSettled(vm: Vm, context: PhaseContext, signal: AbortSignal): Promise<GuestAgent> {
    const timeoutMs = this.machine.bootTimeoutMs;
    const agent = await context.step('boot', () => withConsole(vm, () => vm.agent({ signal, timeoutMs })));
    await context.step('settle', async () => {
      const command = ['/bin/sh', '-c', SETTLE_SCRIPT] as const;
      const { exitCode, stdout } = await withConsole(vm, () => agent.exec(command, { signal, timeoutMs }));
      if (exitCode === 0) return;
      const state = stdout.toString().trim();
      throw new RootloomError(
        'GUEST_FAILED',
        `Cannot snapshot the guest: its boot ended as "${state}", a running system was wanted`,
        { operation: 'snapshot the guest', exitCode, logTail: vm.console.tail },
      );
    });
    return agent;
  }

  /** How many bytes too little are free on the disk of the paused guest. */
  async #missing({ overlay }: WorkDisk, signal: AbortSignal): Promise<number> {
    return this.free === undefined ? 0 : this.free - (await ext4.stats(overlay, { signal })).availableBytes;
  }

  #neverFree(missing: number): RootloomError {
    const message = `Cannot keep ${this.free} bytes free: each of ${MAX_BOOTS} boots of the guest filled more, at last ${missing} too many`;
    return new RootloomError('NO_SPACE', message, { operation: 'snapshot the guest' });
  }
}

/** A guest that does not answer has mostly said on its console why. */
async function withConsole<Value>(vm: Vm, call: () => Promise<Value>): Promise<Value> {
  try {
    return await call();
  } catch (error) {
    if (!isRootloomError(error, 'GUEST_TIMEOUT') || error.context.logTail !== undefined) throw error;
    throw new RootloomError(
      error.code,
      error.message,
      { ...error.context, logTail: vm.console.tail },
      { cause: error },
    );
  }
}

async function removeSnapshot({ memoryFile, stateFile }: VmSnapshot, context: PhaseContext): Promise<void> {
  for (const file of [memoryFile, stateFile, path.join(context.staging, 'memory')])
    await rm(file, { force: true });
}

/** Packs the memory without its zero pages; it stands alone, as the device state belongs to this memory only. */
async function sealSnapshot(snapshot: VmSnapshot, context: PhaseContext): Promise<SnapshotFiles> {
  const dataPath = path.join(context.staging, 'memfile');
  const headerPath = path.join(context.staging, 'memfile.header');
  const { diffSha256 } = await context.step('seal memory', async (options) => {
    await using memory = await openFileDevice(snapshot.memoryFile, { signal: context.signal });
    const { buildId } = context;
    const request = { buildId, blockSize: DISK_BLOCK_BYTES, diffPath: dataPath, headerPath };
    return await sealDevice(memory, request, options);
  });
  return { memory: { dataPath, headerPath, diffSha256 }, snapfilePath: snapshot.stateFile };
}

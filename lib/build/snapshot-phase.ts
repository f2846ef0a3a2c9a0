/** The template phase: the disk boots with its own init; ready, synced, frozen and paused, it is snapshotted and published. */
import path from 'node:path';
import type { Build } from '../artifact/build.js';
import { RootloomError } from '../errors.js';
import { sealDevice } from '../native/chain.js';
import { openFileDevice } from '../native/device.js';
import { ext4 } from '../native/ext4.js';
import { DISK_BLOCK_BYTES, type DiskRequest } from '../rootfs/disk-request.js';
import type { JsonValue } from '../util/digest.js';
import type { VmSnapshot } from '../vm/driver.js';
import { Guest } from './guest.js';
import type { Machine } from './machine.js';
import type { Phase, PhaseContext } from './phase.js';
import { publishSealed, type SnapshotFiles, sealDisk } from './publish-disk.js';
import { WorkDisk } from './work-disk.js';

/** Waits until systemd has nothing left to start, so that no sandbox resumes in the middle of a boot; other inits have reached their runlevel when the agent runs. */
const SETTLE_SCRIPT = `if [ -d /run/systemd/system ]; then
  systemctl is-system-running --wait
  case $(systemctl is-system-running) in running|degraded) exit 0 ;; *) exit 1 ;; esac
fi`;

export class SnapshotPhase implements Phase {
  readonly name = 'template';
  readonly inputs: JsonValue;

  constructor(
    private readonly machine: Machine,
    private readonly disk: DiskRequest | undefined,
  ) {
    this.inputs = { machine: machine.inputs };
  }

  async run(context: PhaseContext, parent: Build): Promise<void> {
    await using disk = await WorkDisk.openOver(parent, context.staging);
    const snapshot = await this.#bootAndSnapshot(disk, context);
    const sealed = await sealDisk(context, disk);
    await this.#checkFreeSpace(disk, context.signal);
    const files = await sealSnapshot(snapshot, context);
    await publishSealed(context, disk, sealed, { parentBuildId: parent.id, vm: snapshot.machine }, files);
  }

  async #bootAndSnapshot(disk: WorkDisk, context: PhaseContext): Promise<VmSnapshot> {
    const { driver, kernel, memoryBytes, cpus, bootTimeoutMs: timeoutMs } = this.machine;
    const { signal } = context;
    const memoryPath = path.join(context.staging, 'memory');
    const spec = { kernel, memoryBytes, cpus, memoryPath, network: true };
    await using guest = await context.step('start machine', () =>
      Guest.boot(driver, disk.overlay, spec, { signal }),
    );
    const { vm } = guest;
    const agent = await context.step('boot', () => vm.agent({ signal, timeoutMs }));
    await context.step('settle', async () => {
      const { exitCode, stdout } = await agent.exec(['/bin/sh', '-c', SETTLE_SCRIPT], {
        signal,
        timeoutMs,
      });
      if (exitCode === 0) return;
      throw new RootloomError(
        'GUEST_FAILED',
        `Cannot snapshot the guest: its boot ended as ${stdout.toString().trim()}, a running system was wanted`,
        { exitCode, logTail: vm.console.tail },
      );
    });
    return await context.step('freeze, pause and snapshot', async () => {
      await agent.exec(['/bin/sync'], { signal });
      await agent.freeze({ signal });
      await vm.pause({ signal });
      return vm.snapshot(path.join(context.staging, 'snapshot'), { signal });
    });
  }

  /** The guest's own word: what was promised to be free is free in the snapshot, too. */
  async #checkFreeSpace({ overlay }: WorkDisk, signal: AbortSignal): Promise<void> {
    if (this.disk === undefined || !('free' in this.disk)) return;
    const { freeBytes } = await ext4.stats(overlay, { signal });
    if (freeBytes >= this.disk.free) return;
    throw new RootloomError(
      'NO_SPACE',
      `Cannot keep ${this.disk.free} bytes free: the guest's boot left ${freeBytes}, ask for more`,
    );
  }
}

/** Packs the memory without its zero pages; it stands alone, as the device state belongs to this memory only. */
async function sealSnapshot(snapshot: VmSnapshot, context: PhaseContext): Promise<SnapshotFiles> {
  const dataPath = path.join(context.staging, 'memfile');
  const headerPath = path.join(context.staging, 'memfile.header');
  await context.step('seal memory', async (options) => {
    await using memory = await openFileDevice(snapshot.memoryFile, { signal: context.signal });
    const request = {
      buildId: context.buildId,
      blockSize: DISK_BLOCK_BYTES,
      diffPath: dataPath,
      headerPath,
    };
    await sealDevice(memory, request, options);
  });
  return { memory: { dataPath, headerPath }, snapfilePath: snapshot.stateFile };
}

/** The QEMU driver: microvm machines, by KVM where guests run under it, else by emulation. */
import { stat } from 'node:fs/promises';
import { RootloomError } from '../errors.js';
import { Cleaner } from '../util/cleaner.js';
import { withSystemErrors } from '../util/system-error.js';
import { findTool, runTool } from '../util/tool.js';
import { type AccelerationOptions, chooseAcceleration } from './acceleration.js';
import type { Acceleration, RestoreSpec, StartOptions, Vm, VmDriver, VmSpec } from './driver.js';
import { measureTscKhz } from './keeper.js';
import { assertCompatible, type HostTraits, type MachineDescription, readHostCpu } from './machine.js';
import { kernelCommandLine } from './qemu-command.js';
import { QemuSession, type SessionSpec } from './qemu-session.js';
import { QemuVm } from './qemu-vm.js';
import { RunDir } from './run-dir.js';
import { loadState, prepareTransfers } from './vm-state.js';

const MIB = 1 << 20;
const MIN_MEMORY_BYTES = 64 * MIB;
const MAX_CPUS = 64;
const START_TIMEOUT_MS = 60_000;

const DEFAULT_INIT = '/sbin/init';
const DEFAULT_CPUS = 2;
const DEFAULT_MEMORY_BYTES = 512 * MIB;

/** What of a machine is chosen, and not given by the host. */
type MachineShape = Pick<MachineDescription, 'cpus' | 'memoryBytes' | 'network'>;

/**
 * Finds QEMU and how it can run guests here; the first time on a host that may have KVM that takes a trial boot. Rejects with
 * TOOL_MISSING, UNSUPPORTED on processors other than x86-64, what `ensureKernelBundle` rejects with, or `signal.reason`.
 */
export async function openQemuDriver(options: AccelerationOptions = {}): Promise<VmDriver> {
  const operation = 'start a virtual machine';
  if (process.arch !== 'x64') {
    const message = `Cannot ${operation}: this processor is ${process.arch}, QEMU's microvm is for x64`;
    throw new RootloomError('UNSUPPORTED', message, { operation });
  }
  const program = await findTool('qemu-system-x86_64', operation);
  const acceleration = await chooseAcceleration(program, options);
  const { accelerator } = acceleration;
  const [qemuVersion, tscKhz] = await Promise.all([readQemuVersion(options), measureTscKhz()]);
  const hostCpu = accelerator === 'kvm' ? await readHostCpu() : null;
  return new QemuDriver(program, acceleration, { qemuVersion, accelerator, hostCpu, tscKhz });
}

/** As its greeting names it: "7.2.22". */
async function readQemuVersion({ signal }: { signal?: AbortSignal | undefined }): Promise<string> {
  const operation = 'ask QEMU for its version';
  const text = (await runTool('qemu-system-x86_64', ['--version'], operation, { signal })).toString();
  const version = /version (\d+\.\d+\.\d+)/.exec(text)?.[1];
  if (version !== undefined) return version;
  throw new RootloomError('UNSUPPORTED', `Cannot ${operation}: it said ${text.trim()}`, { operation });
}

class QemuDriver implements VmDriver {
  constructor(
    private readonly program: string,
    readonly acceleration: Acceleration,
    readonly host: HostTraits,
  ) {}

  create(spec: VmSpec, options: StartOptions = {}): Promise<Vm> {
    return this.#inRunDir(spec.runDir, options, async (runDir) => {
      const { kernel, cpus = DEFAULT_CPUS, memoryBytes = DEFAULT_MEMORY_BYTES, network = false } = spec;
      assertShape(cpus, memoryBytes);
      const commandLine = kernelCommandLine({
        tscKhz: this.acceleration.accelerator === 'tcg' ? this.host.tscKhz : undefined,
        init: spec.init ?? DEFAULT_INIT,
        extra: spec.kernelArguments,
      });
      const { kernelFile, initramfsFile } = kernel;
      const session = this.#sessionSpec({ cpus, memoryBytes, network }, spec.disk, runDir, {
        memory: { path: spec.memoryPath ?? runDir.file('memory'), shared: true },
        start: { kernelFile, initramfsFile, commandLine },
      });
      return this.#start(session, options);
    });
  }

  restore(spec: RestoreSpec, options: StartOptions = {}): Promise<Vm> {
    return this.#inRunDir(spec.runDir, options, async (runDir) => {
      const { machine, stateFile, memoryFile } = spec.snapshot;
      await assertMemoryFile(memoryFile, machine.memoryBytes);
      const session = this.#sessionSpec(machine, spec.disk, runDir, {
        memory: { path: memoryFile, shared: spec.memory === 'shared' },
        start: 'incoming',
      });
      return this.#start(session, options, { machine, stateFile });
    });
  }

  /** Sees to it that the run directory, the caller's or a new one, is gone when `body` fails, at whatever point. */
  async #inRunDir(
    given: RunDir | undefined,
    { signal }: StartOptions,
    body: (runDir: RunDir) => Promise<Vm>,
  ): Promise<Vm> {
    const runDir = given ?? (await RunDir.create({ signal }));
    try {
      return await body(runDir);
    } catch (error) {
      await runDir.remove();
      throw error;
    }
  }

  #sessionSpec(
    { cpus, memoryBytes, network }: MachineShape,
    disk: VmSpec['disk'],
    runDir: RunDir,
    rest: Pick<SessionSpec, 'memory' | 'start'>,
  ): SessionSpec {
    const { accelerator } = this.acceleration;
    const { socketPath, exportName = '' } = disk;
    return {
      program: this.program,
      runDir,
      machine: { accelerator, cpus, memoryBytes, network },
      disk: { socketPath, exportName },
      ...rest,
    };
  }

  async #start(
    spec: SessionSpec,
    { signal, logger, timeoutMs = START_TIMEOUT_MS }: StartOptions,
    incoming?: { machine: MachineDescription; stateFile: string },
  ): Promise<Vm> {
    const startedAt = performance.now();
    const { session, qmp, agentSocket, qemuVersion } = await QemuSession.start(spec, { signal, timeoutMs });
    const cleaner = new Cleaner('the start of a virtual machine');
    cleaner.defer('QEMU', () => session.stop());
    try {
      const { accelerator } = this.acceleration;
      const traits: HostTraits = { ...this.host, qemuVersion };
      const { cpus, memoryBytes, network } = spec.machine;
      const machine: MachineDescription = { formatVersion: 1, ...traits, cpus, memoryBytes, network };
      await prepareTransfers(qmp, signal);
      const parts = { session, qmp, agentSocket, machine, memory: spec.memory };
      const vm = new QemuVm(parts, { paused: incoming !== undefined });
      if (incoming !== undefined) {
        assertCompatible(incoming.machine, traits);
        await loadState(qmp, incoming.stateFile, spec.runDir.file('state.sock'), signal);
        await vm.resume({ signal });
      }
      const ms = Math.round(performance.now() - startedAt);
      logger?.debug(
        { accelerator, cpus, memoryBytes, ms, restored: incoming !== undefined },
        'started a machine',
      );
      return vm;
    } catch (error) {
      return cleaner.runAfter(error);
    }
  }
}

/** Throws RangeError for a machine that cannot be. */
export function assertShape(cpus: number, memoryBytes: number): void {
  if (!Number.isInteger(cpus) || cpus < 1 || cpus > MAX_CPUS) {
    throw new RangeError(`A virtual machine has 1 to ${MAX_CPUS} processors, not ${cpus}`);
  }
  if (!Number.isSafeInteger(memoryBytes) || memoryBytes < MIN_MEMORY_BYTES || memoryBytes % MIB !== 0) {
    throw new RangeError(
      `The memory of a virtual machine is a multiple of 1 MiB, and 64 MiB at least, not ${memoryBytes} bytes`,
    );
  }
}

/** QEMU would make a missing file, and resize one of another size. */
async function assertMemoryFile(file: string, memoryBytes: number): Promise<void> {
  const { size } = await withSystemErrors('read the memory of the snapshot', file, () => stat(file));
  if (size === memoryBytes) return;
  const operation = 'restore the snapshot';
  const message = `Cannot ${operation}: its memory ${file} has ${size} bytes, ${memoryBytes} were wanted`;
  throw new RootloomError('CORRUPT', message, { operation, path: file });
}

/** A virtual machine run by QEMU. */
import type { Socket } from 'node:net';
import { RootloomError } from '../errors.js';
import { raceAbort } from '../util/abort.js';
import type { Console } from './console.js';
import { withDeadline } from './deadline.js';
import type { SnapshotOptions, Vm, VmEndReason, VmSnapshot, VmState } from './driver.js';
import { GuestAgent, type GuestCallOptions } from './guest-agent.js';
import type { MachineDescription } from './machine.js';
import type { QemuSession } from './qemu-session.js';
import type { QmpClient } from './qmp.js';
import { captureMemory, writeSnapshot } from './snapshot.js';
import { saveState } from './vm-state.js';

const SHUTDOWN_TIMEOUT_MS = 120_000;

export interface QemuVmParts {
  session: QemuSession;
  qmp: QmpClient;
  agentSocket: Socket;
  machine: MachineDescription;
  memory: { path: string; shared: boolean };
}

export class QemuVm implements Vm {
  readonly #agent: GuestAgent;
  #isPaused: boolean;
  #memoryIsTaken = false;

  /** Takes over the parts of a machine that has been started, or loaded and is at rest. */
  constructor(
    private readonly parts: QemuVmParts,
    { paused }: { paused: boolean },
  ) {
    const { session, agentSocket } = parts;
    this.#agent = new GuestAgent(agentSocket, session.makeEndError.bind(session));
    this.#isPaused = paused;
  }

  get state(): VmState {
    if (this.parts.session.hasEnded) return 'ended';
    return this.#isPaused ? 'paused' : 'running';
  }

  get console(): Console {
    return this.parts.session.console;
  }

  get machine(): MachineDescription {
    return this.parts.machine;
  }

  get diskFailed(): Promise<void> {
    return this.parts.session.diskFailed;
  }

  get memoryPath(): string {
    return this.parts.memory.path;
  }

  async waitForExit({ signal, timeoutMs }: GuestCallOptions = {}): Promise<VmEndReason> {
    const { session } = this.parts;
    const operation = 'wait for the end of the virtual machine';
    const ended = (deadline: AbortSignal | undefined) => raceAbort(session.ended, deadline);
    if (timeoutMs === undefined) {
      await ended(signal);
    } else {
      const message = `Cannot ${operation}: it has not ended in ${timeoutMs} ms`;
      const makeError = () =>
        new RootloomError('GUEST_TIMEOUT', message, { operation, logTail: this.console.tail });
      await withDeadline({ signal, timeoutMs }, makeError, ended);
    }
    if (session.endReason !== undefined) return session.endReason;
    throw await session.makeEndError(operation);
  }

  async agent(options: GuestCallOptions = {}): Promise<GuestAgent> {
    await this.#agent.waitUntilReady(options);
    return this.#agent;
  }

  async pause({ signal }: { signal?: AbortSignal | undefined } = {}): Promise<void> {
    await this.parts.qmp.execute('stop', {}, { signal });
    this.#isPaused = true;
  }

  async resume({ signal }: { signal?: AbortSignal | undefined } = {}): Promise<void> {
    if (this.#memoryIsTaken) {
      throw refusal(
        'resume the virtual machine',
        'its snapshot has taken its memory, ask that one to copy it',
      );
    }
    await this.parts.qmp.execute('cont', {}, { signal });
    this.#isPaused = false;
  }

  async snapshot(dir: string, { signal, memory = 'take' }: SnapshotOptions = {}): Promise<VmSnapshot> {
    const operation = 'snapshot the virtual machine';
    if (!this.parts.memory.shared)
      throw refusal(operation, 'its memory is private, restore it with shared memory');
    if (this.#memoryIsTaken) throw refusal(operation, 'an earlier snapshot has taken its memory');
    if (this.state === 'running') throw refusal(operation, 'it is running, pause it first');
    const { qmp, session, machine } = this.parts;
    const files = await writeSnapshot(dir, async ({ stateFile, memoryFile }) => {
      await saveState(qmp, stateFile, session.runDir.file('state.sock'), signal);
      await captureMemory(this.memoryPath, memoryFile, memory, signal);
    });
    this.#memoryIsTaken = memory === 'take';
    return { machine, ...files };
  }

  async shutdown({ signal, timeoutMs = SHUTDOWN_TIMEOUT_MS }: GuestCallOptions = {}): Promise<VmEndReason> {
    const startedAt = performance.now();
    const agent = await this.agent({ signal, timeoutMs });
    await agent.shutdown({ signal, timeoutMs });
    const leftMs = Math.max(timeoutMs - (performance.now() - startedAt), 1);
    return this.waitForExit({ signal, timeoutMs: leftMs });
  }

  async kill(): Promise<void> {
    await this.parts.session.stop();
    this.#agent.close();
    this.parts.qmp.close();
  }

  close(): Promise<void> {
    return this.kill();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.kill();
  }
}

function refusal(operation: string, why: string): RootloomError {
  return new RootloomError('INVALID_ARGUMENT', `Cannot ${operation}: ${why}`, { operation });
}

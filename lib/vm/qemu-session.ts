/** One QEMU process under its keeper, with its two conversations and its console: from start to end. */
import type { Socket } from 'node:net';
import { RootloomError } from '../errors.js';
import { raceAbort } from '../util/abort.js';
import { Cleaner } from '../util/cleaner.js';
import { Console } from './console.js';
import { withDeadline } from './deadline.js';
import type { VmEndReason } from './driver.js';
import { KeptProcess, type ProcessEnd } from './keeper.js';
import { type QemuCommandSpec, qemuCommand } from './qemu-command.js';
import { QmpClient, type QmpEvent } from './qmp.js';
import type { RunDir } from './run-dir.js';
import { SocketListener } from './socket-listener.js';

/** What the kernel of a dead process may need to deliver its last words. */
const END_GRACE_MS = 5_000;

/** An error about a machine shows at most so many lines. */
const TAIL_LINES = 30;

export type SessionSpec = Omit<QemuCommandSpec, 'qmpSocket' | 'agentSocket'> & { runDir: RunDir };

export interface SessionOptions {
  signal?: AbortSignal | undefined;
  timeoutMs: number;
}

export class QemuSession {
  /** Resolves when the process is gone, all that it told read and its run directory removed. */
  readonly ended: Promise<ProcessEnd>;
  readonly console: Console;
  /** Resolves when QEMU has told that a request of the guest to its disk has failed. */
  readonly diskFailed: Promise<void>;
  #noteDiskFailure: () => void = () => {};
  readonly #errors: Console;
  /** Resolves when QMP has told everything: why the guest ended is known then. */
  #toldAll: Promise<void> = Promise.resolve();
  #shutdownReason: string | undefined;
  #isStopped = false;

  private constructor(
    private readonly process: KeptProcess,
    readonly runDir: RunDir,
  ) {
    this.console = new Console(process.stdout);
    this.#errors = new Console(process.stderr);
    this.diskFailed = new Promise((resolve) => {
      this.#noteDiskFailure = resolve;
    });
    this.ended = process.ended.then(async (end) => {
      await this.#toldAll;
      return end;
    });
  }

  /**
   * Starts QEMU and waits until it has connected. From then on the run directory of `spec` goes when QEMU does. Rejects with
   * VM_FAILED, TOOL_MISSING, IO, or `signal.reason`; no process is left then, the run directory is still the caller's.
   */
  static async start(
    spec: SessionSpec,
    options: SessionOptions,
  ): Promise<{ session: QemuSession; qmp: QmpClient; agentSocket: Socket; qemuVersion: string }> {
    const cleaner = new Cleaner('the start of a virtual machine');
    try {
      options.signal?.throwIfAborted();
      const qmpListener = await SocketListener.open(spec.runDir.file('qmp.sock'));
      cleaner.use('the QMP socket', qmpListener);
      const agentListener = await SocketListener.open(spec.runDir.file('agent.sock'));
      cleaner.use('the agent socket', agentListener);
      const sockets = { qmpSocket: qmpListener.path, agentSocket: agentListener.path };
      const process = await KeptProcess.start(qemuCommand({ ...spec, ...sockets }), spec.runDir);
      const session = new QemuSession(process, spec.runDir);
      cleaner.defer('QEMU', () => session.stop());
      const [qmpSocket, agentSocket] = await session.#untilEnded(
        Promise.all([qmpListener.connection, agentListener.connection]),
        options,
      );
      const makeEndError = session.makeEndError.bind(session);
      const { client, version } = await QmpClient.open(qmpSocket, makeEndError, options);
      client.onEvent((event) => session.#note(event));
      session.#toldAll = client.ended;
      return { session, qmp: client, agentSocket, qemuVersion: version.version };
    } catch (error) {
      return cleaner.runAfter(error);
    }
  }

  /** Kills QEMU and resolves when it is gone. */
  async stop(): Promise<void> {
    if (!this.process.hasEnded) this.#isStopped = true;
    await this.process.stop();
  }

  get hasEnded(): boolean {
    return this.process.hasEnded;
  }

  /** How it ended, once `ended` has resolved; undefined when QEMU failed. */
  get endReason(): VmEndReason | undefined {
    switch (this.#shutdownReason) {
      case 'guest-shutdown':
        return 'shutdown';
      case 'guest-reset':
      case 'guest-panic':
        return 'reset';
      default:
        return this.#isStopped ? 'stopped' : undefined;
    }
  }

  /** The error of whatever was under way when the machine ended, with its last words. */
  async makeEndError(operation: string): Promise<RootloomError> {
    const end = await raceTimeout(this.ended, END_GRACE_MS);
    const logTail = [...this.console.tail, ...this.#errors.tail].slice(-TAIL_LINES);
    const message = `Cannot ${operation}: the virtual machine ${this.#describe(end)}`;
    return new RootloomError('VM_FAILED', message, { operation, logTail });
  }

  #describe(end: ProcessEnd | undefined): string {
    switch (this.endReason) {
      case 'shutdown':
        return 'has powered off';
      case 'reset':
        return 'has rebooted or panicked';
      case 'stopped':
        return 'was stopped';
    }
    const lastWord = this.#errors.tail.at(-1) ?? 'it said nothing';
    if (end === undefined) return `has hung up: ${lastWord}`;
    if (end.signal !== null) return `was ended by ${end.signal}: ${lastWord}`;
    return `ended with status ${end.exitCode}: ${lastWord}`;
  }

  #note({ event, data }: QmpEvent): void {
    if (event === 'SHUTDOWN') this.#shutdownReason = String(data.reason);
    if (event === 'BLOCK_IO_ERROR') this.#noteDiskFailure();
  }

  async #untilEnded<Value>(work: Promise<Value>, { signal, timeoutMs }: SessionOptions): Promise<Value> {
    const operation = 'start the virtual machine';
    const message = `Cannot ${operation}: QEMU has not connected in ${timeoutMs} ms`;
    const makeError = () =>
      new RootloomError('VM_FAILED', message, { operation, logTail: this.#errors.tail });
    const failed = this.ended.then(async () => {
      throw await this.makeEndError(operation);
    });
    failed.catch(() => {}); // Also when the work has won.
    return withDeadline({ signal, timeoutMs }, makeError, (deadline) =>
      raceAbort(Promise.race([work, failed]), deadline),
    );
  }
}

async function raceTimeout<Value>(work: Promise<Value>, milliseconds: number): Promise<Value | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), milliseconds);
  });
  try {
    return await Promise.race([work, timeout]);
  } finally {
    clearTimeout(timer);
  }
}

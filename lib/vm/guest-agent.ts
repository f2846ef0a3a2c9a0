/** The QEMU guest agent's protocol, over the socket behind a virtio serial port. */
import type { Socket } from 'node:net';
import { RootloomError } from '../errors.js';
import { raceAbort, sleep } from '../util/abort.js';
import { withDeadline } from './deadline.js';
import { type EndErrorMaker, JsonChannel, type JsonMessage } from './json-channel.js';

/** What is sent before the guest has an agent waits in the port, but is lost with an agent that starts and dies. */
const SYNC_INTERVAL_MS = 2_000;

const COMMAND_TIMEOUT_MS = 30_000;
const FREEZE_TIMEOUT_MS = 60_000;
const EXEC_TIMEOUT_MS = 300_000;

/** The agent reports the end of a program only when asked: soon at first, then ever less often. */
const POLL_FIRST_MS = 5;
const POLL_LAST_MS = 200;

export interface GuestCallOptions {
  signal?: AbortSignal | undefined;
  /** After that the call rejects with GUEST_TIMEOUT. */
  timeoutMs?: number | undefined;
}

export interface ExecOptions extends GuestCallOptions {
  /** What the program reads on its standard input; default: nothing. */
  input?: Uint8Array | string | undefined;
  /** The program's whole environment; default: the agent's own. */
  environment?: Readonly<Record<string, string>> | undefined;
}

export interface ExecResult {
  /** The exit status, or 128 + the signal's number as a shell tells it. */
  exitCode: number;
  /** The number of the signal that ended the program, if one did. */
  signal: number | undefined;
  /** The agent keeps 16 MiB of each stream; `truncated` says that there was more. */
  stdout: Buffer;
  stderr: Buffer;
  truncated: boolean;
}

interface ExecStatus {
  exited: boolean;
  exitcode?: number;
  signal?: number;
  'out-data'?: string;
  'err-data'?: string;
  'out-truncated'?: boolean;
  'err-truncated'?: boolean;
}

/**
 * One guest's agent. Calls may overlap. Each rejects with GUEST_TIMEOUT when the guest does not answer in time, GUEST_FAILED
 * when the agent refuses, VM_FAILED when the machine is gone, or `signal.reason`.
 *
 * Between `freeze` and `thaw` the agent answers nothing else than `ping`, `freezeStatus` and `thaw`.
 */
export class GuestAgent {
  readonly #channel: JsonChannel;
  readonly #ended: Promise<void>;

  /**
   * Takes over the socket.
   *
   * @param makeEndError The error of calls once the machine is gone.
   */
  constructor(socket: Socket, makeEndError: EndErrorMaker) {
    this.#ended = new Promise((resolve) => {
      socket.once('close', () => resolve());
    });
    // Messages that answer nothing are answers to what was given up.
    this.#channel = new JsonChannel(socket, { onMessage: () => {}, makeEndError });
  }

  /** Resolves when the agent answers. Default deadline: 5 minutes. */
  async waitUntilReady({ signal, timeoutMs = EXEC_TIMEOUT_MS }: GuestCallOptions = {}): Promise<void> {
    const operation = 'wait for the guest agent';
    // The delimiter ends whatever the agent has read half of.
    const request: JsonMessage = { execute: 'guest-sync-delimited', arguments: { id: 1 } };
    await answered(operation, { signal, timeoutMs }, (deadline) =>
      this.#channel.request(operation, request, {
        signal: deadline,
        delimited: true,
        repeatMs: SYNC_INTERVAL_MS,
      }),
    );
  }

  async ping(options: GuestCallOptions = {}): Promise<void> {
    await this.#call('guest-ping', {}, options);
  }

  /**
   * Runs a program to its end: `command` is its path or name and its arguments; no shell comes in between. Resolves
   * whatever its exit status. Default deadline: 5 minutes. On abort or timeout the program is killed, as far as the guest
   * still answers.
   */
  async exec(command: readonly [string, ...string[]], options: ExecOptions = {}): Promise<ExecResult> {
    const { input, environment, signal, timeoutMs = EXEC_TIMEOUT_MS } = options;
    const [path, ...arg] = command;
    const request: JsonMessage = { path, arg, 'capture-output': true };
    if (input !== undefined) request['input-data'] = Buffer.from(input).toString('base64');
    if (environment !== undefined) {
      request.env = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
    }
    return answered(`run ${path} in the guest`, { signal, timeoutMs }, async (deadline) => {
      const call = { signal: deadline, timeoutMs };
      const { pid } = (await this.#call('guest-exec', request, call)) as { pid: number };
      try {
        for (let pause = POLL_FIRST_MS; ; pause = Math.min(pause * 1.5, POLL_LAST_MS)) {
          const status = (await this.#call('guest-exec-status', { pid }, call)) as ExecStatus;
          if (status.exited) return toResult(status);
          await sleep(pause, deadline);
        }
      } catch (error) {
        if (deadline.aborted) this.#killInGuest(pid);
        throw error;
      }
    });
  }

  /**
   * Stops all changes of the guest's filesystems, flushed and consistent, until `thaw`. Resolves with how many it
   * stopped. Default deadline: 1 minute. When it rejects the guest may be frozen or not: thaw it.
   */
  async freeze({ signal, timeoutMs = FREEZE_TIMEOUT_MS }: GuestCallOptions = {}): Promise<number> {
    return (await this.#call('guest-fsfreeze-freeze', {}, { signal, timeoutMs })) as number;
  }

  /** Ends a freeze; no error when there is none. Resolves with how many filesystems it let go on. */
  async thaw(options: GuestCallOptions = {}): Promise<number> {
    return (await this.#call('guest-fsfreeze-thaw', {}, options)) as number;
  }

  async freezeStatus(options: GuestCallOptions = {}): Promise<'frozen' | 'thawed'> {
    return (await this.#call('guest-fsfreeze-status', {}, options)) as 'frozen' | 'thawed';
  }

  /**
   * Sets the guest's clock, which stands still while the machine does; by default to this host's time. Not by the agent's own
   * command for it: that also sets the hardware clock with a program that waits seconds for its tick, and that small
   * images lack. busybox's date takes whole seconds only.
   */
  async setTime(time?: Date, options: GuestCallOptions = {}): Promise<void> {
    const seconds = (time ?? new Date()).getTime() / 1000;
    const { signal, timeoutMs = COMMAND_TIMEOUT_MS } = options;
    const setTo = (text: string) => this.exec(['date', '-u', '-s', `@${text}`], { signal, timeoutMs });
    const precise = await setTo(seconds.toFixed(3));
    if (precise.exitCode !== 0) assertSuccess('set the guest clock', await setTo(seconds.toFixed(0)));
  }

  /**
   * Starts an orderly power-off: resolves when it is under way or the machine is gone. Not by the agent's own command for it,
   * which runs a program that wants a system bus.
   */
  async shutdown(options: GuestCallOptions = {}): Promise<void> {
    const { signal, timeoutMs = COMMAND_TIMEOUT_MS } = options;
    const script = 'poweroff || systemctl poweroff';
    const asked = this.exec(['/bin/sh', '-c', script], { signal, timeoutMs });
    asked.catch(() => {}); // Not waited for once the machine is gone.
    const result = await raceAbort(Promise.race([asked, this.#ended]), signal);
    if (result !== undefined) assertSuccess('power the guest off', result);
  }

  /** Hangs up: calls under way reject. */
  close(): void {
    this.#channel.close();
  }

  async #call(command: string, args: JsonMessage, options: GuestCallOptions): Promise<unknown> {
    const operation = `run ${command} in the guest`;
    const answer = await answered(operation, options, (signal) =>
      this.#channel.request(operation, { execute: command, arguments: args }, { signal }),
    );
    if ('return' in answer) return answer.return;
    const { desc = 'it gave no reason' } = (answer.error ?? {}) as { desc?: string };
    throw new RootloomError('GUEST_FAILED', `Cannot ${operation}: the agent refused: ${desc}`, { operation });
  }

  #killInGuest(pid: number): void {
    const request = { path: '/bin/sh', arg: ['-c', `kill -KILL ${pid}`] };
    this.#call('guest-exec', request, {}).catch(() => {}); // The guest may be the reason why it is killed.
  }
}

function assertSuccess(operation: string, { exitCode, stderr }: ExecResult): void {
  if (exitCode === 0) return;
  const logTail = stderr.toString('utf8').trim().split('\n');
  const message = `Cannot ${operation}: the program for it ended with ${exitCode}: ${logTail.at(-1)}`;
  throw new RootloomError('GUEST_FAILED', message, { operation, exitCode, logTail });
}

function toResult(status: ExecStatus): ExecResult {
  const { exitcode, signal } = status;
  return {
    exitCode: exitcode ?? 128 + (signal ?? 0),
    signal,
    stdout: Buffer.from(status['out-data'] ?? '', 'base64'),
    stderr: Buffer.from(status['err-data'] ?? '', 'base64'),
    truncated: status['out-truncated'] === true || status['err-truncated'] === true,
  };
}

function answered<Value>(
  operation: string,
  { signal, timeoutMs = COMMAND_TIMEOUT_MS }: GuestCallOptions,
  body: (signal: AbortSignal) => Promise<Value>,
): Promise<Value> {
  const message = `Cannot ${operation}: the guest has not answered in ${timeoutMs} ms`;
  const makeError = () => new RootloomError('GUEST_TIMEOUT', message, { operation });
  return withDeadline({ signal, timeoutMs }, makeError, body);
}

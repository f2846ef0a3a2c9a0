/** QMP, the protocol that controls a running QEMU. */
import type { Socket } from 'node:net';
import { RootloomError } from '../errors.js';
import { raceAbort } from '../util/abort.js';
import { withDeadline } from './deadline.js';
import { type EndErrorMaker, JsonChannel, type JsonMessage } from './json-channel.js';

/** A command that hangs QEMU's main loop for that long will not come back. */
const COMMAND_TIMEOUT_MS = 60_000;

export interface QmpEvent {
  event: string;
  data: JsonMessage;
}
export type QmpEventListener = (event: QmpEvent) => void;

export interface QmpOptions {
  signal?: AbortSignal | undefined;
  /** Default 60 seconds. */
  timeoutMs?: number | undefined;
}

/** What QEMU says of itself in its greeting. */
export interface QemuVersion {
  /** "7.2.22" */
  version: string;
  /** The packager's own version; may be empty. */
  package: string;
}

/** A QMP session past its greeting. Any number of commands may be under way. */
export class QmpClient {
  readonly #listeners = new Set<QmpEventListener>();
  readonly #channel: JsonChannel;
  #greet: (greeting: JsonMessage) => void = () => {};

  /** Resolves when QEMU has hung up and all events have been delivered. */
  readonly ended: Promise<void>;

  private constructor(socket: Socket, makeEndError: EndErrorMaker) {
    this.ended = new Promise((resolve) => {
      socket.once('close', () => resolve());
    });
    this.#channel = new JsonChannel(socket, {
      onMessage: (message) => this.#receive(message),
      makeEndError,
    });
  }

  /**
   * Takes over a socket that QEMU has just connected to or accepted on: reads the greeting and leaves the negotiation mode.
   *
   * @param makeEndError The error of commands once QEMU is gone; the owner of the process knows how it ended.
   * @returns The session and QEMU's version. Rejects with VM_FAILED, `makeEndError`'s error, or `signal.reason`.
   */
  static async open(
    socket: Socket,
    makeEndError: EndErrorMaker,
    options: QmpOptions = {},
  ): Promise<{ client: QmpClient; version: QemuVersion }> {
    const client = new QmpClient(socket, makeEndError);
    try {
      const greeting = new Promise<JsonMessage>((resolve, reject) => {
        client.#greet = resolve;
        socket.once('close', () => void makeEndError('read the greeting of QEMU').then(reject));
      });
      const version = await answered('read the greeting of QEMU', options, (signal) =>
        raceAbort(greeting, signal),
      );
      await client.execute('qmp_capabilities', {}, options);
      return { client, version: parseGreeting(version) };
    } catch (error) {
      client.close();
      throw error;
    }
  }

  /**
   * Runs one command and resolves with what it returned. Rejects with VM_FAILED when QEMU refuses it (its own words are in the
   * message), when it does not answer in time, or when it is gone; or with `signal.reason`. A command that was given up
   * may still take effect.
   */
  async execute(command: string, args: JsonMessage = {}, options: QmpOptions = {}): Promise<unknown> {
    const operation = `run the QMP command ${command}`;
    const answer = await answered(operation, options, (signal) =>
      this.#channel.request(operation, { execute: command, arguments: args }, { signal }),
    );
    if ('return' in answer) return answer.return;
    const { desc = 'it gave no reason' } = (answer.error ?? {}) as { desc?: string };
    throw new RootloomError('VM_FAILED', `Cannot ${operation}: QEMU refused: ${desc}`, { operation });
  }

  /** Calls `listener` with each event from now on. Returns the function that ends it. */
  onEvent(listener: QmpEventListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Hangs up. QEMU goes on. Pending commands reject. */
  close(): void {
    this.#channel.close();
  }

  #receive(message: JsonMessage): void {
    if ('QMP' in message) {
      this.#greet(message);
    } else if (typeof message.event === 'string') {
      const event = { event: message.event, data: (message.data ?? {}) as JsonMessage };
      for (const listener of [...this.#listeners]) listener(event);
    }
  }
}

function parseGreeting(greeting: JsonMessage): QemuVersion {
  const { version } = greeting.QMP as {
    version: { qemu: { major: number; minor: number; micro: number }; package?: string };
  };
  const { major, minor, micro } = version.qemu;
  return { version: `${major}.${minor}.${micro}`, package: version.package ?? '' };
}

function answered<Value>(
  operation: string,
  { signal, timeoutMs = COMMAND_TIMEOUT_MS }: QmpOptions,
  body: (signal: AbortSignal) => Promise<Value>,
): Promise<Value> {
  const message = `Cannot ${operation}: QEMU has not answered in ${timeoutMs} ms`;
  const makeError = () => new RootloomError('VM_FAILED', message, { operation });
  return withDeadline({ signal, timeoutMs }, makeError, body);
}

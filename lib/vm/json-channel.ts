/**
 * A conversation in JSON, one value a line, over a socket: what QMP and the guest agent have in common.
 *
 * Requests carry an id and answers are told apart by it, so an answer that comes after its request was given up is dropped and
 * cannot be taken for that of a later one.
 */
import { randomUUID } from 'node:crypto';
import type { Socket } from 'node:net';
import { raceAbort } from '../util/abort.js';
import { LineSplitter } from './line-splitter.js';

/** May come before a message: no JSON begins with it, so it marks where one begins after half a message. */
export const DELIMITER = 0xff;

/** The agent's answers hold a program's whole output, which it cuts at 16 MiB a stream, in base64. */
const MAX_LINE_BYTES = 64 << 20;

export type JsonMessage = Record<string, unknown>;

/** Makes the error of calls on a channel whose other side has gone, when it is known how it went. */
export type EndErrorMaker = (operation: string) => Promise<Error>;

interface ChannelOptions {
  /** Gets each message that answers no pending request. */
  onMessage: (message: JsonMessage) => void;
  makeEndError: EndErrorMaker;
}

export interface RequestOptions {
  signal?: AbortSignal | undefined;
  /** Send the delimiter first. */
  delimited?: boolean;
  /** Send it again after every so many milliseconds without an answer. */
  repeatMs?: number;
}

interface Pending {
  resolve(message: JsonMessage): void;
  reject(error: Error): void;
  operation: string;
}

export class JsonChannel {
  readonly #pending = new Map<string, Pending>();
  /** An answer may be to a question from before the other side was snapshotted: numbers alone would be taken for ours. */
  readonly #name = randomUUID();
  #nextId = 1;
  #hasEnded = false;

  /** Takes over the socket. */
  constructor(
    private readonly socket: Socket,
    private readonly options: ChannelOptions,
  ) {
    const splitter = new LineSplitter(MAX_LINE_BYTES, (line) => this.#receive(line));
    socket.on('data', (chunk: Buffer) => splitter.push(chunk));
    socket.on('error', () => {}); // Its 'close' follows.
    socket.once('close', () => this.#end());
  }

  /** Sends a request, and resolves with the message that answers it. Rejects when the channel ends, or with `signal.reason`. */
  async request(
    operation: string,
    message: JsonMessage,
    { signal, delimited = false, repeatMs }: RequestOptions = {},
  ): Promise<JsonMessage> {
    signal?.throwIfAborted();
    if (this.#hasEnded) throw await this.options.makeEndError(operation);
    const id = `${this.#name}/${this.#nextId++}`;
    const send = () => this.send({ ...message, id }, delimited);
    const answer = new Promise<JsonMessage>((resolve, reject) => {
      this.#pending.set(id, { resolve, reject, operation });
    });
    const repeat = repeatMs === undefined ? undefined : setInterval(send, repeatMs);
    try {
      send();
      return await raceAbort(answer, signal);
    } finally {
      clearInterval(repeat);
      this.#pending.delete(id);
    }
  }

  /** Sends a message that wants no answer; on an ended channel nothing. */
  send(message: JsonMessage, delimited = false): void {
    if (this.#hasEnded) return;
    if (delimited) this.socket.write(Buffer.of(DELIMITER));
    this.socket.write(`${JSON.stringify(message)}\n`);
  }

  /** Hangs up: pending requests reject. */
  close(): void {
    this.socket.destroy();
    this.#end();
  }

  #receive(line: Buffer): void {
    let message: unknown;
    try {
      message = JSON.parse(line.toString('utf8', line.lastIndexOf(DELIMITER) + 1));
    } catch {
      return; // The rest of a message from before the conversation began.
    }
    if (typeof message !== 'object' || message === null) return;
    const { id } = message as JsonMessage;
    const pending = typeof id === 'string' ? this.#pending.get(id) : undefined;
    if (pending === undefined) this.options.onMessage(message as JsonMessage);
    else pending.resolve(message as JsonMessage);
  }

  #end(): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    for (const { reject, operation } of this.#pending.values()) {
      void this.options.makeEndError(operation).then(reject);
    }
    this.#pending.clear();
  }
}

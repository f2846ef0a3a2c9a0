/** What a guest or a program prints, line by line. */
import type { Readable } from 'node:stream';
import { RootloomError } from '../errors.js';
import { raceAbort } from '../util/abort.js';
import { LineSplitter } from './line-splitter.js';

const MAX_LINE_BYTES = 8192;

/** How many of the last lines an error shows. */
const TAIL_LINES = 30;

export type LineListener = (line: string) => void;

/**
 * Reads a stream to its end, keeps its last lines and tells each to the listeners. It always reads, whether or not anybody
 * listens: a guest is never held up by a full pipe. Never fails; a stream that breaks has ended.
 */
export class Console {
  readonly #lines: string[] = [];
  readonly #listeners = new Set<LineListener>();
  #hasEnded = false;

  /** Resolves when the stream has ended. */
  readonly ended: Promise<void>;

  constructor(
    stream: Readable,
    private readonly keptLines = 500,
  ) {
    const splitter = new LineSplitter(MAX_LINE_BYTES, (line) => this.#add(line.toString('utf8')));
    this.ended = new Promise((resolve) => {
      stream.on('data', (chunk: Buffer) => splitter.push(chunk));
      stream.on('error', () => {}); // Its 'close' follows.
      stream.once('close', () => {
        splitter.end();
        this.#hasEnded = true;
        resolve();
      });
    });
  }

  /** The lines kept, oldest first, without their line ends. */
  get lines(): readonly string[] {
    return this.#lines;
  }

  /** The last few lines that are not empty, for an error. */
  get tail(): readonly string[] {
    return this.#lines.filter((line) => line.trim() !== '').slice(-TAIL_LINES);
  }

  /**
   * Calls `listener` with each line that is still kept, now, and with each one to come. Listeners are called in the order of
   * the lines, and must not throw. Returns the function that ends it.
   */
  follow(listener: LineListener): () => void {
    for (const line of this.#lines) listener(line);
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Resolves with the first line, kept or to come, that matches. Rejects with VM_FAILED when the stream ends without one, or
   * with `signal.reason`.
   */
  async waitForLine(pattern: RegExp, { signal }: { signal?: AbortSignal | undefined } = {}): Promise<string> {
    signal?.throwIfAborted();
    let unfollow = () => {};
    try {
      const found = new Promise<string>((resolve) => {
        unfollow = this.follow((line) => pattern.test(line) && resolve(line));
      });
      const line = await raceAbort(Promise.race([found, this.ended]), signal);
      if (line !== undefined) return line;
    } finally {
      unfollow();
    }
    const message = `Cannot wait for ${pattern} on the console: it has ended without it`;
    throw new RootloomError('VM_FAILED', message, {
      operation: 'wait for a console line',
      logTail: this.tail,
    });
  }

  /** True once nothing more can come. */
  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  #add(text: string): void {
    const line = text.endsWith('\r') ? text.slice(0, -1) : text;
    this.#lines.push(line);
    if (this.#lines.length > this.keptLines) this.#lines.shift();
    for (const listener of [...this.#listeners]) listener(line);
  }
}

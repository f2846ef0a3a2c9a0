/** What ends a command from outside: signals, and a reader of its output that has gone. */
import { writeSync } from 'node:fs';
import { constants } from 'node:os';

const SIGNAL_NAMES = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
type SignalName = (typeof SIGNAL_NAMES)[number];

/** Two signals as close as this are meant as one: now, whatever it costs. */
export const FORCE_WINDOW_SECONDS = 5;

const SHOW_CURSOR = '\x1b[?25h';

/** The reason with which a command is aborted when its process gets a signal. */
export class InterruptedError extends Error {
  override readonly name = 'InterruptedError';

  constructor(readonly signalName: SignalName) {
    super(`Interrupted by ${signalName}`);
  }

  /** As shells tell it: 130 for SIGINT, 143 for SIGTERM, 129 for SIGHUP. */
  get exitCode(): number {
    return 128 + constants.signals[this.signalName];
  }
}

/**
 * The signals that a process gets, as its command sees them.
 *
 * The first one aborts `signal`, so that the command releases what it holds. The second one, of whatever kind, ends the process
 * at once; a command that leaves something outside of it then asks for `holdOut` before.
 */
export class Interruption {
  readonly #first = new AbortController();
  #forced: AbortController | undefined;
  #lastMs = Number.NEGATIVE_INFINITY;

  /** Ends the command: it releases what it holds, and rejects with the reason. */
  get signal(): AbortSignal {
    return this.#first.signal;
  }

  /** Whether the command was told to give up what it cannot release. */
  get isForced(): boolean {
    return this.#forced?.signal.aborted === true;
  }

  /** From now on signals come here. For the process's main program. */
  listen(): this {
    for (const name of SIGNAL_NAMES) process.on(name, () => this.receive(name));
    return this;
  }

  /**
   * From now on a further signal ends the process no more. One that comes within 5 seconds of the signal before it aborts the
   * returned signal: the command gives up what it cannot release, and ends. Only after that the next one is the system's again.
   */
  holdOut(): AbortSignal {
    this.#forced ??= new AbortController();
    return this.#forced.signal;
  }

  /** @param nowMs Of a clock that never goes back. */
  receive(name: SignalName, nowMs = performance.now()): void {
    const sinceLastMs = nowMs - this.#lastMs;
    this.#lastMs = nowMs;
    if (!this.signal.aborted) this.#first.abort(new InterruptedError(name));
    else if (this.#forced === undefined || this.#forced.signal.aborted) endAtOnce(name);
    else if (sinceLastMs <= FORCE_WINDOW_SECONDS * 1000) this.#forced.abort(new InterruptedError(name));
  }
}

/** Live progress hides the cursor, and nobody else would bring it back. */
function endAtOnce(name: SignalName): void {
  if (process.stderr.isTTY) writeSync(process.stderr.fd, SHOW_CURSOR);
  for (const each of SIGNAL_NAMES) process.removeAllListeners(each);
  process.kill(process.pid, name);
}

/** What ends a command from outside: signals, and a reader of its output that has gone. */
import { writeSync } from 'node:fs';
import { constants } from 'node:os';

const SIGNAL_NAMES = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
type SignalName = (typeof SIGNAL_NAMES)[number];

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
 * Aborts `controller` at the first signal, so that the command releases what it holds. The second one, of whatever
 * kind, is the system's again and ends the process at once.
 */
export function abortOnSignals(controller: AbortController): void {
  const listeners = SIGNAL_NAMES.map((name) => [name, () => abort(name)] as const);
  const abort = (name: SignalName) => {
    for (const [each, listener] of listeners) {
      process.removeListener(each, listener);
      process.once(each, () => endAtOnce(each));
    }
    controller.abort(new InterruptedError(name));
  };
  for (const [name, listener] of listeners) process.on(name, listener);
}

/** Live progress hides the cursor, and nobody else would bring it back. */
function endAtOnce(name: SignalName): void {
  if (process.stderr.isTTY) writeSync(process.stderr.fd, SHOW_CURSOR);
  for (const each of SIGNAL_NAMES) process.removeAllListeners(each);
  process.kill(process.pid, name);
}

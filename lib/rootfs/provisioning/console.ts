/**
 * Reads the console of a provisioning boot, line by line: tells the script's own lines from the rest, and the exit line
 * from both. Time-outs are the caller's.
 */
import { RootloomError } from '../../errors.js';
import { DISTRIBUTION_MARKER, EXIT_MARKER, EXIT_UNSUPPORTED, LOG_PREFIX } from './config.js';
import { REJECTED_DISTRIBUTIONS, unsupportedDistribution } from './distribution.js';

/** Lines kept for an error. */
export const LOG_TAIL_LINES = 30;

class Tail {
  readonly #lines: string[] = [];

  add(line: string): void {
    this.#lines.push(line);
    if (this.#lines.length > LOG_TAIL_LINES) this.#lines.shift();
  }

  get lines(): readonly string[] {
    return [...this.#lines];
  }
}

export class ProvisioningConsole {
  readonly #onLog: (line: string) => void;
  readonly #log = new Tail();
  readonly #everything = new Tail();
  #exitCode: number | undefined;
  #distribution: string | undefined;

  /** @param onLog Gets each line that the script printed, without its prefix. */
  constructor(onLog: (line: string) => void = () => {}) {
    this.#onLog = onLog;
  }

  /** The script's exit code, once its line was seen. */
  get exitCode(): number | undefined {
    return this.#exitCode;
  }

  /** The image's distribution, once the script has told it. */
  get distribution(): string | undefined {
    return this.#distribution;
  }

  /**
   * Takes the next line, with or without its line end. Lines after the exit line are ignored.
   *
   * @returns true from the exit line on: the filesystem is clean by then, and the machine may be stopped.
   */
  accept(line: string): boolean {
    const text = line.replace(/[\r\n]+$/, '');
    if (this.#exitCode !== undefined) return true;
    if (text !== '') this.#everything.add(text);
    if (text.startsWith(LOG_PREFIX)) {
      const message = text.slice(LOG_PREFIX.length);
      this.#log.add(message);
      this.#onLog(message);
    } else if (text.startsWith(DISTRIBUTION_MARKER)) {
      this.#distribution = text.slice(DISTRIBUTION_MARKER.length) || undefined;
    } else if (text.startsWith(EXIT_MARKER)) {
      const code = text.slice(EXIT_MARKER.length);
      if (/^\d{1,3}$/.test(code)) this.#exitCode = Number(code);
    }
    return this.#exitCode !== undefined;
  }

  /** The script's last lines; the console's, when the script never printed one. */
  get logTail(): readonly string[] {
    const own = this.#log.lines;
    return own.length > 0 ? own : this.#everything.lines;
  }

  /**
   * To be called when the exit line was seen or the console has ended.
   *
   * @throws RootloomError UNSUPPORTED_DISTRIBUTION naming the distribution; GUEST_FAILED with the exit code, or without one
   *   when the console ended before it. Both carry `logTail`.
   */
  throwIfFailed(): void {
    if (this.#exitCode === 0) return;
    const context = { operation: 'provision the disk', logTail: this.logTail };
    if (this.#exitCode === undefined) {
      throw new RootloomError(
        'GUEST_FAILED',
        'Cannot provision the disk: exit code not detected, the console ended before a line with it',
        context,
      );
    }
    if (this.#exitCode === EXIT_UNSUPPORTED) {
      const id = this.#distribution ?? 'unknown';
      const { message } = unsupportedDistribution(id, REJECTED_DISTRIBUTIONS[id]);
      throw new RootloomError('UNSUPPORTED_DISTRIBUTION', message, { ...context, exitCode: this.#exitCode });
    }
    throw new RootloomError(
      'GUEST_FAILED',
      `Cannot provision the disk: the script in the guest ended with ${this.#exitCode}, 0 was wanted`,
      { ...context, exitCode: this.#exitCode },
    );
  }
}

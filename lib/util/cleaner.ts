/**
 * The one way to release what an operation owns.
 *
 * Steps run once, last added first, one after the other. All of them share one deadline: when a step starts it gets an equal
 * part of the time that is left, so what a quick step does not use goes to the others. Its signal fires when nine tenths of
 * that part are over, and at the end of it the step is given up, reported by name, and the next one runs: a step that hangs
 * can neither hang the cleaner nor starve the rest. Cleaning is never cancelled by the signal of the operation it cleans up.
 */
import { RootloomError } from '../errors.js';

/** Releases one thing. `signal` fires when the step's time is almost over. */
export type CleanupStep = (signal: AbortSignal) => void | Promise<void>;

export interface CleanerOptions {
  /** The deadline for all steps together. Default 30 seconds. */
  timeoutMs?: number;
  /**
   * Gets the error of a step that was added after the cleaner had finished, for nobody else waits for it then. By default
   * a process warning.
   */
  onLateError?: (error: RootloomError) => void;
}

interface Entry {
  readonly name: string;
  /** What `release` and `dismiss` find the step by: the step function, or the resource given to `use`. */
  readonly key: object;
  readonly step: CleanupStep;
}

/** Collects release steps; see the head of this file. Not to be shared by operations of different lifetimes. */
export class Cleaner implements AsyncDisposable {
  #entries: Entry[] = [];
  #running: Promise<void> | undefined;
  #draining = false;
  readonly #timeoutMs: number;
  readonly #onLateError: (error: RootloomError) => void;

  /** @param what What is cleaned up, as it reads in an error: "the build", "the export". */
  constructor(
    private readonly what: string,
    options: CleanerOptions = {},
  ) {
    this.#timeoutMs = options.timeoutMs ?? 30_000;
    if (!(this.#timeoutMs > 0)) {
      throw new RangeError(`The timeout of a cleaner must be above 0 ms, not ${this.#timeoutMs}`);
    }
    this.#onLateError = options.onLateError ?? ((error) => process.emitWarning(error));
  }

  /**
   * Adds a step. `name` is the thing released, as it reads in an error: "the overlay".
   *
   * After the cleaner ran, the step runs at once (while it is running: as the next one), so nothing is ever leaked by being
   * registered too late.
   */
  defer(name: string, step: CleanupStep): void {
    this.#add({ name, key: step, step });
  }

  /** Adds the disposal of a resource, and returns the resource. As with `defer`, it is disposed of at once when late. */
  use<Resource extends AsyncDisposable | Disposable>(name: string, resource: Resource): Resource {
    const step = async () => {
      if (Symbol.asyncDispose in resource) await resource[Symbol.asyncDispose]();
      else resource[Symbol.dispose]();
    };
    this.#add({ name, key: resource, step });
    return resource;
  }

  /** Runs one step now, by its function or its resource, and forgets it. Its error is the caller's, as it was thrown. */
  async release(key: CleanupStep | AsyncDisposable | Disposable): Promise<void> {
    const entry = this.#take(key);
    const failure = await runStep(entry, this.#timeoutMs);
    if (failure !== undefined) throw failure.cause ?? failure;
  }

  /** Forgets one step without running it: what it would have released belongs to somebody else now. */
  dismiss(key: CleanupStep | AsyncDisposable | Disposable): void {
    this.#take(key);
  }

  /** Hands every step to a new cleaner and leaves this one empty: on success, the result takes over what was collected. */
  move(what: string): Cleaner {
    const heir = new Cleaner(what, { timeoutMs: this.#timeoutMs, onLateError: this.#onLateError });
    heir.#entries = this.#entries;
    this.#entries = [];
    return heir;
  }

  /**
   * Runs all steps. Resolves when each has ended or was given up; rejects with CLEANUP_FAILED whose `context.errors` has one
   * error for each failed step, in the order they ran (`context.operation` names the step, `cause` is what it threw).
   * Calling it again gives the same outcome, unless a step was added since.
   */
  run(): Promise<void> {
    this.#running ??= this.#drain();
    return this.#running;
  }

  /**
   * Runs all steps because the operation failed, and rejects with its error; when something could not be released either, with
   * CLEANUP_FAILED, whose `cause` is that error.
   */
  async runAfter(error: unknown): Promise<never> {
    try {
      await this.run();
    } catch (cleanup) {
      const { code, message, context } = cleanup as RootloomError;
      throw new RootloomError(code, message, context, { cause: error });
    }
    throw error;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.run();
  }

  #add(entry: Entry): void {
    this.#entries.push(entry);
    if (this.#running === undefined || this.#draining) return;
    this.#running = this.#drain();
    this.#running.catch(this.#onLateError);
  }

  #take(key: object): Entry {
    const index = this.#entries.findLastIndex((entry) => entry.key === key);
    const [entry] = index < 0 ? [] : this.#entries.splice(index, 1);
    if (entry === undefined) {
      throw new TypeError(
        `The cleaner of ${this.what} has no such step: it ran, was dismissed or was never added`,
      );
    }
    return entry;
  }

  async #drain(): Promise<void> {
    this.#draining = true;
    const deadline = performance.now() + this.#timeoutMs;
    const errors: RootloomError[] = [];
    for (let entry = this.#entries.pop(); entry !== undefined; entry = this.#entries.pop()) {
      const leftMs = Math.max(deadline - performance.now(), 1);
      const failure = await runStep(entry, leftMs / (this.#entries.length + 1));
      if (failure !== undefined) errors.push(failure);
    }
    this.#draining = false;
    if (errors.length === 0) return;
    const list = errors.map((error) => error.message).join('; ');
    throw new RootloomError('CLEANUP_FAILED', `Cannot clean up ${this.what}: ${list}`, { errors });
  }
}

/** Runs a step for at most `timeoutMs`; what went wrong comes back as a value. */
async function runStep({ name, step }: Entry, timeoutMs: number): Promise<RootloomError | undefined> {
  const controller = new AbortController();
  const operation = `release ${name}`;
  const timeout = () =>
    new RootloomError(
      'CLEANUP_FAILED',
      `Cannot ${operation}: it has not finished in its ${Math.round(timeoutMs)} ms, and goes on unattended`,
      { operation },
    );
  let warning: NodeJS.Timeout | undefined;
  let end: NodeJS.Timeout | undefined;
  const expired = new Promise<RootloomError>((resolve) => {
    warning = setTimeout(() => controller.abort(timeout()), timeoutMs * 0.9);
    end = setTimeout(() => resolve(timeout()), timeoutMs);
  });
  const work = async () => {
    await step(controller.signal);
    return undefined;
  };
  try {
    return await Promise.race([work(), expired]);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    return new RootloomError('CLEANUP_FAILED', `Cannot ${operation}: ${reason}`, { operation }, { cause });
  } finally {
    clearTimeout(warning);
    clearTimeout(end);
  }
}

/**
 * Runs `body` with a cleaner of its own, and releases what it collected there, whether it resolved or rejected. Resolves with
 * its value. Rejects with its error, or with CLEANUP_FAILED (see `run` and `runAfter`): two errors never become one that has no code.
 */
export async function withCleaner<Value>(
  what: string,
  body: (cleaner: Cleaner) => Promise<Value>,
  options: CleanerOptions = {},
): Promise<Value> {
  const cleaner = new Cleaner(what, options);
  let value: Value;
  try {
    value = await body(cleaner);
  } catch (error) {
    return await cleaner.runAfter(error);
  }
  await cleaner.run();
  return value;
}

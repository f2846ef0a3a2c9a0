import { RootloomError } from '../errors.js';

/** What is left of aborted calls, until it has ended: see `answerAbort`. */
export class AdoptedWork {
  /** Each gives its error, or undefined. */
  readonly #running = new Set<Promise<unknown>>();

  add(work: Promise<unknown>): void {
    const settled = work.then(
      () => undefined,
      (error: unknown) => error,
    );
    this.#running.add(settled);
    // What failed stays, to be told.
    void settled.then((error) => error === undefined && this.#running.delete(settled));
  }

  /** Resolves when all of it has ended; rejects with CLEANUP_FAILED when some of it failed, for `what` that was to be closed. */
  async settle(what: string): Promise<void> {
    const errors = (await Promise.all(this.#running)).filter((error) => error !== undefined);
    this.#running.clear();
    if (errors.length === 0) return;
    const message = `Cannot close ${what}: ${errors.length} aborted calls left something behind`;
    throw new RootloomError('CLEANUP_FAILED', message, { errors });
  }
}

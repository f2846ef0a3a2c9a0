/** What a template build reports while it runs. */

/**
 * The phases of a build, in order: `base` makes the disk, `provision` installs in it what a sandbox needs, `template` boots it and
 * snapshots the machine.
 */
export type PhaseName = 'base' | 'provision' | 'template';

/** What happens, in order: each phase starts, takes its steps, prints lines, and finishes; a failed build ends in the middle. */
export type BuildEvent =
  | { type: 'phase-started'; phase: PhaseName; layerHash: string }
  | { type: 'phase-finished'; phase: PhaseName; report: PhaseReport }
  /**
   * A step under way: one event with `done` 0 when it begins, and progress after that, of which a slow reader sees the newest only.
   * `done` and `total` are bytes unless the step's name says otherwise; `total` 0 is unknown.
   */
  | { type: 'step'; phase: PhaseName; step: string; done: number; total: number }
  /** A line that the guest printed, or a note of the phase about something that it left out. */
  | { type: 'log'; phase: PhaseName; line: string };

/** What one phase did. */
export interface PhaseReport {
  phase: PhaseName;
  /** The phase's layer. */
  buildId: string;
  /** Of all inputs of the phase and of those before it. */
  layerHash: string;
  /** True when the layer was found whole in the cache and nothing was built. */
  cached: boolean;
  /** Of the whole phase, looking for it in the cache included. */
  durationMs: number;
  /** Bytes that this phase's build added to the store: diffs, headers, VM state. 0 when cached. */
  storedBytes: number;
  /** Time of the phase's steps, in order; empty when cached. */
  timings: readonly { step: string; durationMs: number }[];
}

/** How many log lines wait for a slow reader before the oldest are dropped. Other events are few, and are never dropped. */
const MAX_WAITING_LINES = 10_000;

/** A place in the queue; while it waits, progress of the same step is put in the place of older progress. */
interface Waiting {
  event: BuildEvent;
}

/**
 * A queue with one writer that never waits, and one reader. Memory is bounded however slow the reader is: of a step's
 * progress only the newest waits, behind the event that began the step, and of log lines only the last ones.
 *
 * After `end` or `fail` the reader gets what waits, then the end or the error. A reader that leaves early ends the
 * collecting, too; a second one is refused with a TypeError.
 */
export class EventStream implements AsyncIterable<BuildEvent> {
  #waiting: Waiting[] = [];
  #waitingLines = 0;
  #progress: Waiting | undefined;
  #wake: () => void = () => {};
  #isRead = false;
  #isAbandoned = false;
  #outcome: { error?: unknown } | undefined;

  emit(event: BuildEvent): void {
    if (this.#outcome !== undefined || this.#isAbandoned) return;
    if (event.type === 'log') this.#addLine(event);
    else if (event.type === 'step' && event.done > 0) this.#addProgress(event);
    else this.#waiting.push({ event });
    this.#wake();
  }

  end(): void {
    this.#settle({});
  }

  fail(error: unknown): void {
    this.#settle({ error });
  }

  [Symbol.asyncIterator](): AsyncIterator<BuildEvent> {
    if (this.#isRead)
      throw new TypeError('Cannot read the events of a build again: they have a reader, one is possible');
    this.#isRead = true;
    return this.#read();
  }

  async *#read(): AsyncIterator<BuildEvent> {
    try {
      for (;;) {
        const next = this.#waiting.shift();
        if (next !== undefined) {
          this.#forget(next);
          yield next.event;
        } else if (this.#outcome === undefined) {
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
        } else {
          if ('error' in this.#outcome) throw this.#outcome.error;
          return;
        }
      }
    } finally {
      this.#isAbandoned = true;
      this.#waiting = [];
    }
  }

  #addLine(event: BuildEvent): void {
    this.#waiting.push({ event });
    this.#waitingLines += 1;
    if (this.#waitingLines <= MAX_WAITING_LINES) return;
    this.#waiting.splice(
      this.#waiting.findIndex((waiting) => waiting.event.type === 'log'),
      1,
    );
    this.#waitingLines -= 1;
  }

  #addProgress(event: BuildEvent & { type: 'step' }): void {
    const waiting = this.#progress?.event;
    if (
      this.#progress &&
      waiting?.type === 'step' &&
      waiting.step === event.step &&
      waiting.phase === event.phase
    ) {
      this.#progress.event = event;
      return;
    }
    this.#progress = { event };
    this.#waiting.push(this.#progress);
  }

  #forget(taken: Waiting): void {
    if (taken === this.#progress) this.#progress = undefined;
    if (taken.event.type === 'log') this.#waitingLines -= 1;
  }

  #settle(outcome: { error?: unknown }): void {
    this.#outcome ??= outcome;
    this.#wake();
  }
}

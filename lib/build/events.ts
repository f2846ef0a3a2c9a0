/** What a template build reports while it runs. */

export type PhaseName = 'base' | 'provision' | 'template';

export type BuildEvent =
  | { type: 'phase-started'; phase: PhaseName; layerHash: string }
  | { type: 'phase-finished'; phase: PhaseName; report: PhaseReport }
  /** A step under way. `done` and `total` are bytes unless the step's name says otherwise; `total` 0 is unknown. */
  | { type: 'step'; phase: PhaseName; step: string; done: number; total: number }
  /** A line that the guest or a tool printed. */
  | { type: 'log'; phase: PhaseName; line: string };

/** What one phase did. */
export interface PhaseReport {
  phase: PhaseName;
  buildId: string;
  layerHash: string;
  /** True when the layer was found whole in the cache and nothing was built. */
  cached: boolean;
  durationMs: number;
  /** Bytes that this phase's build added to the store: diffs, headers, VM state. 0 when cached. */
  storedBytes: number;
  /** Time of the phase's parts, in order. */
  timings: readonly { step: string; durationMs: number }[];
}

/** How many events wait for a slow reader before the oldest are dropped. */
const MAX_WAITING = 10_000;

/**
 * An unbounded-time, bounded-memory queue with one reader: `emit` never waits, the newest event wins over the oldest.
 * After `end` or `fail` the reader gets what waits, then the end or the error.
 */
export class EventStream implements AsyncIterable<BuildEvent> {
  readonly #waiting: BuildEvent[] = [];
  #wake: (() => void) | undefined;
  #ended = false;
  #error: unknown;
  #failed = false;

  emit(event: BuildEvent): void {
    if (this.#ended) return;
    this.#waiting.push(event);
    if (this.#waiting.length > MAX_WAITING) this.#waiting.shift();
    this.#wake?.();
  }

  end(): void {
    this.#ended = true;
    this.#wake?.();
  }

  fail(error: unknown): void {
    this.#error = error;
    this.#failed = true;
    this.end();
  }

  async *[Symbol.asyncIterator](): AsyncIterator<BuildEvent> {
    for (;;) {
      const event = this.#waiting.shift();
      if (event !== undefined) {
        yield event;
      } else if (this.#ended) {
        if (this.#failed) throw this.#error;
        return;
      } else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        this.#wake = undefined;
      }
    }
  }
}

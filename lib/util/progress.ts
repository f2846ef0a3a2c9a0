/** Progress of long calls made of many small steps. */

/** The shape of every progress report of rootloom, native calls included. */
export interface Progress {
  /** What is going on. */
  step: string;
  /** Bytes done, unless the call says otherwise. */
  done: number;
  /** The same, in all; 0 when not known. */
  total: number;
}
export type ProgressListener = (progress: Progress) => void;

/** A listener is called at most 20 times a second. */
const INTERVAL_MS = 50;

/** Counts the bytes of one step and reports them: its begin and end always, in between at most 20 times a second. */
export class ProgressMeter {
  #done = 0;
  #reportedAt = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly step: string,
    private readonly total: number,
    private readonly listener: ProgressListener | undefined,
  ) {
    this.add(0);
  }

  add(bytes: number): void {
    this.#done += bytes;
    const now = performance.now();
    if (now - this.#reportedAt < INTERVAL_MS && this.#done < this.total) return;
    this.#reportedAt = now;
    this.listener?.({ step: this.step, done: this.#done, total: this.total });
  }
}

/** One phase of a template build, and what it works with. */
import type { Build } from '../artifact/build.js';
import type { Store } from '../storage/store.js';
import type { JsonValue } from '../util/digest.js';
import type { BuildEvent, PhaseName } from './events.js';

/** A part of a build that ends in a published build of its own. */
export interface Phase {
  readonly name: PhaseName;
  /** Everything that reaches this phase's artifact and is not in the parent's hash already. */
  readonly inputs: JsonValue;
  /** Whether this host can use a layer from the cache, which is whole and has this phase's hash. Default: always. */
  accepts?(layer: Build): boolean;
  /**
   * Makes and publishes the build `context.buildId`. `parent` is the phase before's, absent for the first. On failure
   * nothing is published, and everything that the phase made is released.
   */
  run(context: PhaseContext, parent: Build | undefined): Promise<void>;
}

/** What a step gets: to be stopped by, and to tell how far it is. */
export interface StepOptions {
  signal: AbortSignal;
  onProgress: (progress: { done: number; total: number }) => void;
}

/** The services of one running phase. */
export class PhaseContext {
  readonly timings: { step: string; durationMs: number }[] = [];

  constructor(
    readonly phase: PhaseName,
    readonly store: Store,
    /** The id of the build to publish. */
    readonly buildId: string,
    readonly layerHash: string,
    /** A folder of this phase inside the store; removed after it, whatever happens. */
    readonly staging: string,
    readonly signal: AbortSignal,
    private readonly emit: (event: BuildEvent) => void,
  ) {}

  log(line: string): void {
    this.emit({ type: 'log', phase: this.phase, line });
  }

  /** Runs one named step: announced, timed, and not begun after an abort. Progress of nothing yet is not reported again. */
  async step<Value>(step: string, body: (options: StepOptions) => Promise<Value>): Promise<Value> {
    this.signal.throwIfAborted();
    const report = (done: number, total: number) =>
      this.emit({ type: 'step', phase: this.phase, step, done, total });
    report(0, 0);
    const started = performance.now();
    const value = await body({
      signal: this.signal,
      onProgress: ({ done, total }) => done > 0 && report(done, total),
    });
    this.timings.push({ step, durationMs: performance.now() - started });
    return value;
  }
}

/** Abort signals: racing work against one, linking one operation's controller to its caller's, waiting. */

/**
 * Waits for `work`, or for `signal`, whichever ends first.
 *
 * On abort it rejects at once with `signal.reason`. The work itself goes on: `discard` gets its late value, to release
 * it; its late error is dropped, for the caller has been told the reason already. The listener is always removed.
 */
export async function raceAbort<Value>(
  work: Promise<Value>,
  signal: AbortSignal | undefined,
  discard?: (value: Value) => void | Promise<void>,
): Promise<Value> {
  if (signal === undefined) return work;
  let stop = () => {};
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason);
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop, { once: true });
  });
  try {
    return await Promise.race([aborted, work]);
  } catch (error) {
    if (signal.aborted) void work.then(discard, () => {}).catch(() => {});
    throw error;
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

/** How long aborted work may take to stop before its caller is answered without it. */
const STOPPING_MS = 25;

/** Takes over work whose caller was told that it was aborted: waits for it, and undoes what it still did. */
export type Adopt<Value> = (rest: Promise<Value>) => void;

/**
 * Waits for `work`, which stops by itself when `signal` fires, and releases what it holds.
 *
 * Work that has not stopped soon after the abort, because it waits for a disk that does not answer, is given to `adopt`,
 * and this rejects with `signal.reason`. An abort is so answered within some 50 ms, and nothing is left without an owner.
 */
export async function answerAbort<Value>(
  work: Promise<Value>,
  signal: AbortSignal | undefined,
  adopt: Adopt<Value>,
): Promise<Value> {
  if (signal === undefined) return work;
  let timer: NodeJS.Timeout | undefined;
  let onAbort = () => {};
  const late = new Promise<'late'>((resolve) => {
    onAbort = () => {
      timer = setTimeout(() => resolve('late'), STOPPING_MS);
    };
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    const first = await Promise.race([work.then((value) => ({ value })), late]);
    if (first !== 'late') return first.value;
    adopt(work);
    throw signal.reason;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
  }
}

/**
 * An operation's own controller, which also aborts, with the same reason, when any of `parents` does.
 *
 * Dispose of it when the operation ends: until then the parents keep it alive. (AbortSignal.any cannot be disposed of, so
 * a long-lived parent collects its children.)
 */
export class LinkedController extends AbortController implements Disposable {
  readonly #unlink: (() => void)[] = [];

  constructor(...parents: (AbortSignal | undefined)[]) {
    super();
    for (const parent of parents) {
      if (parent === undefined) continue;
      const forward = () => this.abort(parent.reason);
      if (parent.aborted) forward();
      else parent.addEventListener('abort', forward, { once: true });
      this.#unlink.push(() => parent.removeEventListener('abort', forward));
    }
  }

  [Symbol.dispose](): void {
    for (const unlink of this.#unlink.splice(0)) unlink();
  }
}

/** Resolves after `milliseconds`, or rejects with `signal.reason`; the timer is gone either way. */
export async function sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted();
  let timer: NodeJS.Timeout | undefined;
  try {
    await raceAbort(
      new Promise<void>((resolve) => {
        timer = setTimeout(resolve, milliseconds);
      }),
      signal,
    );
  } finally {
    clearTimeout(timer);
  }
}

/** Deadlines of calls that wait for somebody else. */
import { LinkedController } from '../util/abort.js';

export interface DeadlineOptions {
  signal?: AbortSignal | undefined;
  timeoutMs: number;
}

/**
 * Runs `body` with a signal that fires when the caller's does, with its reason, or after `timeoutMs`, with `makeError`'s error.
 * Resolves and rejects as `body` does, which is to end at the signal.
 */
export async function withDeadline<Value>(
  { signal, timeoutMs }: DeadlineOptions,
  makeError: () => Error,
  body: (signal: AbortSignal) => Promise<Value>,
): Promise<Value> {
  signal?.throwIfAborted();
  using controller = new LinkedController(signal);
  const timer = setTimeout(() => controller.abort(makeError()), timeoutMs);
  try {
    return await body(controller.signal);
  } finally {
    clearTimeout(timer);
  }
}

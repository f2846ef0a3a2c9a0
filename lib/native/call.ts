/** Runs native calls: cancellation by signal, and raw failures translated into RootloomError. */
import type { Logger } from 'pino';
import { ERROR_CODES, type ErrorContext, RootloomError, type RootloomErrorCode } from '../errors.js';
import { type Adopt, answerAbort } from '../util/abort.js';
import type { NativeCall, ProgressListener } from './addon.js';

/** Options that every long call takes. */
export interface CallOptions {
  /** Aborts the call: it rejects with the signal's reason, and has released everything it made. */
  signal?: AbortSignal | undefined;
  /** Called at most 20 times a second. */
  onProgress?: ProgressListener | undefined;
  /** Gets what the call found and did: at `info` what its caller should know, at `debug` the rest. */
  logger?: Logger | undefined;
}

interface RawFailure extends Error, ErrorContext {
  kind?: string;
}

/** Turns what the addon throws into a RootloomError; anything else (TypeError, RangeError) passes unchanged. */
export function toRootloomError(raw: unknown): unknown {
  if (!(raw instanceof Error)) return raw;
  const { kind, operation, path, offset, minimum, errno } = raw as RawFailure;
  if (kind === undefined || !(kind in ERROR_CODES)) return raw;
  const context: ErrorContext = {};
  if (operation !== undefined) context.operation = operation;
  if (path !== undefined) context.path = path;
  if (offset !== undefined) context.offset = offset;
  if (minimum !== undefined) context.minimum = minimum;
  if (errno !== undefined) context.errno = errno;
  return new RootloomError(kind as RootloomErrorCode, raw.message, context);
}

/** Runs a native function that answers at once. */
export function callNative<Value>(call: () => Value): Value {
  try {
    return call();
  } catch (error) {
    throw toRootloomError(error);
  }
}

/**
 * Starts a native call and waits for it.
 *
 * On abort the call is told to stop, and the promise rejects with `signal.reason` once it has stopped and released what
 * it held; native calls look at their stop token every few milliseconds, but a system call that is stuck in one must end first.
 * With `adopt` nobody waits for that: what has not stopped in time is handed to it, and the promise rejects. `adopt`
 * then owns the call, and sees to it that nothing that it uses is released before it has ended.
 */
export async function runNative<Value>(
  start: () => NativeCall<Value>,
  { signal }: { signal?: AbortSignal | undefined } = {},
  adopt?: Adopt<Value>,
): Promise<Value> {
  signal?.throwIfAborted();
  const call = callNative(start);
  const cancel = () => call.cancel();
  signal?.addEventListener('abort', cancel, { once: true });
  try {
    return await (adopt === undefined ? call.promise : answerAbort(call.promise, signal, adopt));
  } catch (error) {
    if (signal?.aborted && (error as RawFailure).kind === 'CANCELLED') throw signal.reason;
    throw toRootloomError(error);
  } finally {
    signal?.removeEventListener('abort', cancel);
  }
}

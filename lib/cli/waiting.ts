/** Waiting for what comes from outside. */
import { once } from 'node:events';

/**
 * Waits until one of the signals is aborted. Neither exports, attachments nor listeners for an abort keep the process alive: a
 * timer does meanwhile.
 */
export async function waitForAbort(...signals: readonly AbortSignal[]): Promise<void> {
  const alive = setInterval(() => {}, 2 ** 30);
  const settled = new AbortController();
  try {
    if (signals.some(({ aborted }) => aborted)) return;
    await Promise.race(signals.map((each) => once(each, 'abort', { signal: settled.signal })));
  } finally {
    settled.abort();
    clearInterval(alive);
  }
}

/** Waits for `work`, but rejects with the signal's reason once that is aborted; the work goes on unattended then. */
export async function unlessAborted<Value>(signal: AbortSignal, work: Promise<Value>): Promise<Value> {
  const done = new AbortController();
  const aborted = waitForAbort(signal, done.signal).then(() => signal.throwIfAborted());
  try {
    return (await Promise.race([work, aborted])) as Value;
  } finally {
    work.catch(() => {});
    done.abort();
    await aborted.catch(() => {});
  }
}

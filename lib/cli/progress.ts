/** Progress of long calls, on standard error: a live list on a terminal, now and then a plain line elsewhere. */
import { formatByteSize, type Progress, type ProgressListener } from '../index.js';
import type { LiveTask } from './live-list.js';

/** Where there is no terminal, a call that takes longer than this says how far it is, each time it has passed. */
const PLAIN_INTERVAL_MS = 10_000;

/** "apply layer: 12 MiB of 64 MiB". */
export function progressText({ step, done, total }: Progress): string {
  if (total > 0) return `${step}: ${formatByteSize(done)} of ${formatByteSize(total)}`;
  return done > 0 ? `${step}: ${formatByteSize(done)}` : step;
}

/**
 * Whether standard error can show a live list: it is a terminal, of some size. Standard output is for results, wherever it
 * goes.
 */
export function isLive(): boolean {
  const { isTTY, rows } = process.stderr;
  return isTTY === true && rows > 0 && process.env.TERM !== 'dumb';
}

/** Runs `body` under a title; with `json` it is silent. */
export async function withProgress<Value>(
  title: string,
  json: boolean,
  body: (onProgress: ProgressListener | undefined) => Promise<Value>,
): Promise<Value> {
  if (json) return body(undefined);
  if (!isLive()) return body(plainListener(title));
  const results: Value[] = [];
  const run = async (task: LiveTask) => {
    results.push(
      await body((progress) => {
        task.output = progressText(progress);
      }),
    );
  };
  const { runLive } = await import('./live-list.js');
  await runLive([{ title, run }], { clear: true });
  return results[0] as Value;
}

function plainListener(title: string): ProgressListener {
  let saidAt = performance.now();
  return (progress) => {
    const now = performance.now();
    if (now - saidAt < PLAIN_INTERVAL_MS) return;
    saidAt = now;
    process.stderr.write(`${title}: ${progressText(progress)}\n`);
  };
}

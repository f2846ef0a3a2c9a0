/** Progress of long calls, on standard error: a live list on a terminal, now and then a plain line elsewhere. */
import { DefaultRenderer, Listr, ListrLogger, ProcessOutput } from 'listr2';
import { formatByteSize, type Progress, type ProgressListener } from '../index.js';

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

/** One line of a live list, while its task runs. */
export interface LiveTask {
  title: string;
  output: string;
}

/** Listr takes its own renderer only when standard output is a terminal. */
class StandardErrorRenderer extends DefaultRenderer {
  static override nonTTY = true;
}

/**
 * Runs tasks one after the other under a live list, which stays or, with `clear`, is gone in the end. An error of theirs comes
 * through, and is not shown.
 */
export async function runLive(
  tasks: readonly { title: string; run: (task: LiveTask) => Promise<void> }[],
  { clear = false } = {},
): Promise<void> {
  const list = new Listr(
    tasks.map(({ title, run }) => ({ title, task: (_, task) => run(task) })),
    {
      registerSignalListeners: false, // The process has its own, which do not skip the release of anything.
      renderer: StandardErrorRenderer,
      rendererOptions: {
        logger: new ListrLogger({ processOutput: new ProcessOutput(process.stderr, process.stderr) }),
        showErrorMessage: false,
        clearOutput: clear,
      },
    },
  );
  await list.run();
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

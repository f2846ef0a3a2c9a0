/** Progress of one long call: a live line on a terminal, nothing elsewhere and with --json. */
import { Listr } from 'listr2';
import { formatByteSize, type ProgressListener } from '../index.js';

/** "apply layer: 12 MiB of 64 MiB". */
export function progressText({ step, done, total }: { step: string; done: number; total: number }): string {
  if (total > 0) return `${step}: ${formatByteSize(done)} of ${formatByteSize(total)}`;
  return done > 0 ? `${step}: ${formatByteSize(done)}` : step;
}

/** Whether standard error can show live progress; standard output stays free for results. */
export function isLive(json: boolean): boolean {
  return !json && process.stderr.isTTY === true;
}

/** Runs `body` under a title. */
export async function withProgress<Value>(
  title: string,
  json: boolean,
  body: (onProgress: ProgressListener | undefined) => Promise<Value>,
): Promise<Value> {
  if (!isLive(json)) return body(undefined);
  let value: { result: Value } | undefined;
  const list = new Listr(
    [
      {
        title,
        task: async (_, task) => {
          value = {
            result: await body((progress) => {
              task.output = progressText(progress);
            }),
          };
        },
      },
    ],
    { renderer: 'default', rendererOptions: { logger: undefined as never } },
  );
  await list.run();
  return (value as { result: Value }).result;
}

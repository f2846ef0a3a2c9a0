/** A live list of tasks on standard error. Loaded only where one is shown: most commands are over before it would be. */
import { DefaultRenderer, Listr, ListrLogger, ProcessOutput } from 'listr2';

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

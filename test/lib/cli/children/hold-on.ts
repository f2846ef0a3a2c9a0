/** A command that does not end when it is told to: says that it was aborted, and goes on. */
import { abortOnSignals } from '../../../../lib/cli/interruption.js';

const controller = new AbortController();
abortOnSignals(controller);
setInterval(() => {}, 1000);
controller.signal.addEventListener('abort', () =>
  console.log(`aborted: ${controller.signal.reason.exitCode}`),
);
console.log('ready');

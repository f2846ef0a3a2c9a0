/** A command that does not end when it is told to: says what it is told, and goes on. With `hold-out` it holds out. */
import { Interruption } from '../../../../lib/cli/interruption.js';

const interruption = new Interruption().listen();
const { signal } = interruption;
setInterval(() => {}, 1000);
signal.addEventListener('abort', () => console.log(`aborted: ${signal.reason.exitCode}`));
if (process.argv[2] === 'hold-out') {
  const forced = interruption.holdOut();
  forced.addEventListener('abort', () => console.log(`forced: ${forced.reason.exitCode}`));
}
console.log('ready');

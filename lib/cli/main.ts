#!/usr/bin/env node
/** The entry of the `rootloom` command. */
import { reportFailure } from './failure.js';
import { Interruption } from './interruption.js';
import { createProgram } from './program.js';

/** Whether errors are wanted as JSON, also those of an argument list that cannot be parsed. */
function wantsJson(args: readonly string[]): boolean {
  const end = args.indexOf('--');
  return args.slice(0, end < 0 ? args.length : end).includes('--json');
}

const interruption = new Interruption().listen();
// Each write reports its own error; without a listener the first one would end the process before anything is released.
process.stdout.on('error', () => {});
process.stderr.on('error', () => {});

try {
  await createProgram(interruption).parseAsync(process.argv);
} catch (error) {
  process.exitCode = reportFailure(error, wantsJson(process.argv.slice(2)));
}
// What a forced command has given up may go on, and must not keep the process.
if (interruption.isForced) process.exit();

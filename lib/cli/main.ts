#!/usr/bin/env node
/** The entry of the `rootloom` command. */
import { reportFailure } from './failure.js';
import { abortOnSignals } from './interruption.js';
import { createProgram } from './program.js';

/** Whether errors are wanted as JSON, also those of an argument list that cannot be parsed. */
function wantsJson(args: readonly string[]): boolean {
  const end = args.indexOf('--');
  return args.slice(0, end < 0 ? args.length : end).includes('--json');
}

const controller = new AbortController();
abortOnSignals(controller);
// Each write reports its own error; without a listener the first one would end the process before anything is released.
process.stdout.on('error', () => {});
process.stderr.on('error', () => {});

try {
  await createProgram(controller.signal).parseAsync(process.argv);
} catch (error) {
  process.exitCode = reportFailure(error, wantsJson(process.argv.slice(2)));
}

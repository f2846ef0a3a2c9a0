#!/usr/bin/env node
/** The entry of the `rootloom` command. */
import { InterruptedError, reportFailure } from './failure.js';
import { createProgram } from './program.js';

const controller = new AbortController();
for (const signalName of ['SIGINT', 'SIGTERM'] as const) {
  // The first signal cancels, and everything is released; the second one is the system's again and ends at once.
  process.once(signalName, () => controller.abort(new InterruptedError(signalName)));
}

try {
  await createProgram(controller.signal).parseAsync(process.argv);
} catch (error) {
  process.exitCode = reportFailure(error, process.argv.includes('--json'));
}

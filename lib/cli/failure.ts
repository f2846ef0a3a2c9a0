/** Turns whatever a command threw into a message on standard error and an exit code. */
import { CommanderError } from 'commander';
import { isRootloomError, type RootloomError } from '../index.js';
import { EXIT_CODES } from './output.js';

/** The reason that an interrupted command's signal carries. */
export class InterruptedError extends Error {
  override readonly name = 'InterruptedError';
  constructor(readonly signalName: 'SIGINT' | 'SIGTERM') {
    super(`Interrupted by ${signalName}`);
  }
}

interface FailureReport {
  error: { code: string; message: string; context?: object; causes?: string[] };
}

function causesOf(error: Error): string[] {
  const causes: string[] = [];
  for (let cause = error.cause; cause instanceof Error; cause = cause.cause) causes.push(cause.message);
  return causes;
}

function describe(error: unknown): FailureReport {
  if (isRootloomError(error)) {
    const { errors, ...context } = error.context;
    const causes = [
      ...causesOf(error),
      ...(errors ?? []).map((item) => (item instanceof Error ? item.message : `${item}`)),
    ];
    return {
      error: { code: error.code, message: error.message, context, ...(causes.length > 0 ? { causes } : {}) },
    };
  }
  if (error instanceof InterruptedError) return { error: { code: 'INTERRUPTED', message: error.message } };
  if (error instanceof TypeError || error instanceof RangeError)
    return { error: { code: 'USAGE', message: error.message } };
  return {
    error: {
      code: 'UNEXPECTED',
      message: error instanceof Error ? (error.stack ?? error.message) : String(error),
    },
  };
}

function printForPeople(report: FailureReport, error: unknown): void {
  process.stderr.write(`rootloom: ${report.error.message}\n`);
  for (const cause of report.error.causes ?? []) process.stderr.write(`  because: ${cause}\n`);
  const tail = (error as RootloomError | undefined)?.context?.logTail ?? [];
  if (tail.length > 0) process.stderr.write(`  last lines:\n${tail.map((line) => `    ${line}\n`).join('')}`);
}

/** Reports the failure; resolves to the exit code. Commander has printed its own usage errors already. */
export function reportFailure(error: unknown, json: boolean): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT_CODES.success : EXIT_CODES.usage;
  const report = describe(error);
  if (json) process.stderr.write(`${JSON.stringify(report)}\n`);
  else printForPeople(report, error);
  if (error instanceof InterruptedError) {
    return error.signalName === 'SIGINT' ? EXIT_CODES.interrupted : EXIT_CODES.terminated;
  }
  return report.error.code === 'USAGE' ? EXIT_CODES.usage : EXIT_CODES.failure;
}

/** Turns whatever a command threw into a message on standard error and an exit code. */
import { CommanderError } from 'commander';
import { type ErrorContext, formatByteSize, isRootloomError, type RootloomErrorCode } from '../index.js';
import { UsageError } from './arguments.js';
import { InterruptedError } from './interruption.js';
import { OutputClosedError, toJson } from './output.js';

/** 0 success; 1 the operation failed, or its answer is no; 2 wrong usage. Interrupted commands end as shells expect. */
export const EXIT_CODES = { success: 0, failure: 1, usage: 2 } as const;

/** What is wrong, as `--json` prints it. */
interface FailureReport {
  code: RootloomErrorCode | 'USAGE' | 'INTERRUPTED' | 'UNEXPECTED';
  message: string;
  context?: Omit<ErrorContext, 'errors'>;
  /** The messages of the errors beneath. */
  causes?: string[];
  /** Of an unexpected error: where in the program it was thrown. */
  stack?: string;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function causesOf(error: Error): string[] {
  const causes: string[] = [];
  for (let { cause } = error; cause !== undefined; cause = cause instanceof Error ? cause.cause : undefined) {
    causes.push(messageOf(cause));
  }
  return causes;
}

function describe(error: unknown): FailureReport {
  if (isRootloomError(error)) {
    const { errors = [], ...context } = error.context;
    const causes = [...errors.map(messageOf), ...causesOf(error)];
    return { code: error.code, message: error.message, context, ...(causes.length > 0 && { causes }) };
  }
  if (error instanceof InterruptedError) return { code: 'INTERRUPTED', message: error.message };
  if (error instanceof UsageError) return { code: 'USAGE', message: error.message };
  if (error instanceof CommanderError) {
    // Help that nobody asked for is commander's answer to a missing command.
    const isHelp = error.code === 'commander.help';
    return {
      code: 'USAGE',
      message: isHelp ? 'A command is missing' : error.message.replace(/^error: /, ''),
    };
  }
  const stack = error instanceof Error ? error.stack : undefined;
  return { code: 'UNEXPECTED', message: messageOf(error), ...(stack !== undefined && { stack }) };
}

function formatForPeople({ code, message, context, causes = [], stack }: FailureReport): string {
  const lines = [`rootloom: ${message}`];
  if (code === 'USAGE') lines.push('(rootloom help COMMAND shows what a command takes)');
  // What the system said is a part of the message that was made from it.
  lines.push(...causes.filter((cause) => !/^E[A-Z0-9]+: /.test(cause)).map((cause) => `  because: ${cause}`));
  if (context?.minimum !== undefined) {
    lines.push(`  the minimum is ${context.minimum} bytes (${formatByteSize(context.minimum)})`);
  }
  const { logTail = [] } = context ?? {};
  if (logTail.length > 0) lines.push('  its last lines:', ...logTail.map((line) => `    ${line}`));
  if (stack !== undefined) lines.push('  this is a bug in rootloom:', stack);
  return lines.join('\n');
}

function exitCodeOf(error: unknown, { code }: FailureReport): number {
  if (error instanceof InterruptedError) return error.exitCode;
  return code === 'USAGE' ? EXIT_CODES.usage : EXIT_CODES.failure;
}

/** Reports the failure, and gives the exit code. */
export function reportFailure(error: unknown, json: boolean): number {
  // Help or the version were asked for, and were printed.
  if (error instanceof CommanderError && error.exitCode === 0) return EXIT_CODES.success;
  if (error instanceof OutputClosedError) return EXIT_CODES.success;
  const report = describe(error);
  process.stderr.write(`${json ? toJson({ error: report }) : formatForPeople(report)}\n`);
  return exitCodeOf(error, report);
}

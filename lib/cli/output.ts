/** How commands answer: tables and sentences for people, one JSON value with `--json`. */
import { RootloomError } from '../index.js';

/** The reader of standard output has gone, as `head` does: nothing is wrong, and there is nothing left to do. */
export class OutputClosedError extends Error {
  override readonly name = 'OutputClosedError';
}

/** Writes to standard output. Rejects with OutputClosedError when nobody reads it any more, and IO when it cannot take more. */
export function writeOutput(data: string | Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(data, (error) => {
      if (error === null || error === undefined) resolve();
      else reject(toOutputError(error));
    });
  });
}

function toOutputError(cause: NodeJS.ErrnoException): Error {
  if (cause.code === 'EPIPE') return new OutputClosedError('Standard output was closed', { cause });
  const message = `Cannot write to standard output: ${cause.message}`;
  return new RootloomError(cause.code === 'ENOSPC' ? 'NO_SPACE' : 'IO', message, {}, { cause });
}

/** JSON has no form for the nanoseconds of files nor for bytes: they become decimal and base64 text. */
export function toJson(value: unknown): string {
  return JSON.stringify(value, function (this: Record<string, unknown>, key, item: unknown) {
    const original = this[key]; // A Buffer, which `item` is not any more.
    if (original instanceof Uint8Array) return Buffer.from(original).toString('base64');
    return typeof item === 'bigint' ? item.toString() : item;
  });
}

/** Writes a value as one line of JSON, or as `text` makes it for people. */
export function printResult<Value>(
  value: Value,
  json: boolean,
  text: (value: Value) => string,
): Promise<void> {
  return writeOutput(`${json ? toJson(value) : text(value)}\n`);
}

/**
 * A table without lines: it reads well on a terminal and cuts well in a pipe. Names of files, whose characters may be of any
 * width, go into the last column, which nothing is aligned with.
 */
export function formatTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [head, ...rows];
  const widths = head.map((_, column) =>
    lines.reduce((width, line) => Math.max(width, (line[column] ?? '').length), 0),
  );
  const formatLine = (line: readonly string[]) =>
    line
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd();
  return lines.map(formatLine).join('\n');
}

/** Name and value, one pair a line, names padded to one width. */
export function formatPairs(pairs: readonly (readonly [string, string])[]): string {
  const width = Math.max(...pairs.map(([name]) => name.length));
  return pairs.map(([name, value]) => `${name.padEnd(width)}  ${value}`).join('\n');
}

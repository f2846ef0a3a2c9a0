/** How commands answer: tables and sentences for people, one JSON value with `--json`. */
import Table from 'cli-table3';

/** 0 success; 1 the operation failed; 2 wrong usage; 130 and 143 ended by SIGINT and SIGTERM. */
export const EXIT_CODES = { success: 0, failure: 1, usage: 2, interrupted: 130, terminated: 143 } as const;

/** JSON has no form for the nanoseconds of files: they become text. */
function toJson(value: unknown): string {
  return JSON.stringify(value, (_, item) => (typeof item === 'bigint' ? item.toString() : item));
}

/** Writes a value as one line of JSON, or as `text` makes it for people. */
export function printResult<Value>(value: Value, json: boolean, text: (value: Value) => string): void {
  process.stdout.write(`${json ? toJson(value) : text(value)}\n`);
}

/** A table without lines: it reads well on a terminal and cuts well in a pipe. */
export function formatTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const none = { top: '', 'top-mid': '', 'top-left': '', 'top-right': '' };
  const table = new Table({
    head: [...head],
    chars: {
      ...none,
      ...{ bottom: '', 'bottom-mid': '', 'bottom-left': '', 'bottom-right': '' },
      ...{ left: '', 'left-mid': '', mid: '', 'mid-mid': '', right: '', 'right-mid': '', middle: '  ' },
    },
    style: { 'padding-left': 0, 'padding-right': 0, head: [], border: [] },
  });
  for (const row of rows) table.push([...row]);
  return table
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n');
}

/** Name and value, one pair a line, names padded to one width. */
export function formatPairs(pairs: readonly (readonly [string, string])[]): string {
  const width = Math.max(...pairs.map(([name]) => name.length));
  return pairs.map(([name, value]) => `${name.padEnd(width)}  ${value}`).join('\n');
}

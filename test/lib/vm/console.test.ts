import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { Console } from '../../../lib/vm/console.js';
import { LineSplitter } from '../../../lib/vm/line-splitter.js';

function split(maxBytes: number, ...chunks: string[]): string[] {
  const lines: string[] = [];
  const splitter = new LineSplitter(maxBytes, (line) => lines.push(line.toString()));
  for (const chunk of chunks) splitter.push(Buffer.from(chunk));
  splitter.end();
  return lines;
}

test.each([
  [['one\ntwo\n'], ['one', 'two']],
  [
    ['o', 'ne\nt', 'wo'],
    ['one', 'two'],
  ],
  [['\n\na\n'], ['', '', 'a']],
  [[], []],
  [['0123456789\n'], ['0123456789']],
  [['0123456789a\nb\n'], ['0123456789', 'a', 'b']],
  [
    ['01234', '56789', '0123456789', 'x'],
    ['0123456789', '0123456789', 'x'],
  ],
])('LineSplitter cuts %j', (chunks, lines) => {
  expect(split(10, ...chunks)).toEqual(lines);
});

test('Console keeps the last lines and tells followers the kept and the coming ones', async () => {
  const stream = new PassThrough();
  const console = new Console(stream, 3);
  stream.write('a\r\nb\nc\nd\n');
  await new Promise(setImmediate);
  expect(console.lines).toEqual(['b', 'c', 'd']);
  const seen: string[] = [];
  const unfollow = console.follow((line) => seen.push(line));
  stream.write('e\n');
  await new Promise(setImmediate);
  unfollow();
  stream.end('f');
  await console.ended;
  expect(seen).toEqual(['b', 'c', 'd', 'e']);
  expect(console.lines).toEqual(['d', 'e', 'f']);
  expect(console.hasEnded).toBe(true);
});

test('Console.waitForLine finds a line of before, one to come, and tells when none can come', async () => {
  const stream = new PassThrough();
  const console = new Console(stream);
  stream.write('first\n');
  await new Promise(setImmediate);
  await expect(console.waitForLine(/^fir/)).resolves.toBe('first');
  const coming = console.waitForLine(/second/);
  stream.write('the second\n');
  await expect(coming).resolves.toBe('the second');
  const aborted = console.waitForLine(/third/, { signal: AbortSignal.abort('enough') });
  await expect(aborted).rejects.toBe('enough');
  const never = console.waitForLine(/third/);
  stream.destroy();
  await expect(never).rejects.toMatchObject({
    code: 'VM_FAILED',
    context: { logTail: ['first', 'the second'] },
  });
});

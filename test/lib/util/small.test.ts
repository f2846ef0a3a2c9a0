import { createHash, randomBytes } from 'node:crypto';
import { getEventListeners } from 'node:events';
import { readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { LinkedController, raceAbort, sleep } from '../../../lib/util/abort.js';
import {
  makeFolder,
  moveFile,
  readJsonFile,
  writeFileAtomically,
  writeJsonAtomically,
} from '../../../lib/util/atomic-file.js';
import { formatByteSize, parseByteSize } from '../../../lib/util/byte-size.js';
import { digestBytes, digestFile, digestJson } from '../../../lib/util/digest.js';
import { makeScratch } from '../../helpers/temporary.js';

test('parseByteSize reads plain bytes and powers of 1024', () => {
  expect(parseByteSize('4096')).toBe(4096);
  expect(parseByteSize(' 17b ')).toBe(17);
  expect(parseByteSize('4G')).toBe(4 * 1024 ** 3);
  expect(parseByteSize('512MiB')).toBe(512 * 1024 ** 2);
  expect(parseByteSize('1.5 gib')).toBe(1.5 * 1024 ** 3);
  expect(parseByteSize('0.125T')).toBe(128 * 1024 ** 3);
});

test.each(['', 'G', '-1', '1e3', '4GB', '10kb', '1 GiB x', '0x10', '1..5G'])(
  'parseByteSize refuses "%s"',
  (text) => {
    expect(() => parseByteSize(text)).toThrow(TypeError);
  },
);

test.each(['0.5', '1.0001K', '9007199254740992', '8P'])(
  'parseByteSize has no whole number for "%s"',
  (text) => {
    expect(() => parseByteSize(text)).toThrow(RangeError);
  },
);

test('formatByteSize takes the largest unit that leaves at least 1', () => {
  expect([0, 1023, 1024, 1536, 1024 ** 2 - 1, 1.25 * 1024 ** 3, 5 * 1024 ** 6].map(formatByteSize)).toEqual([
    '0 B',
    '1023 B',
    '1 KiB',
    '1.5 KiB',
    '1 MiB',
    '1.25 GiB',
    '5120 PiB',
  ]);
});

test('raceAbort rejects with the reason, discards a late value and leaves no listener', async () => {
  const controller = new AbortController();
  const reason = new Error('stop');
  let finish = (_: string) => {};
  const work = new Promise<string>((resolve) => {
    finish = resolve;
  });
  const discarded: string[] = [];
  const racing = raceAbort(work, controller.signal, (value) => void discarded.push(value));
  expect(getEventListeners(controller.signal, 'abort')).toHaveLength(1);
  controller.abort(reason);
  await expect(racing).rejects.toBe(reason);
  finish('late');
  await work;
  expect(discarded).toEqual(['late']);
  expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
  await expect(raceAbort(Promise.resolve(1), new AbortController().signal)).resolves.toBe(1);
  await expect(raceAbort(Promise.reject(reason), new AbortController().signal)).rejects.toBe(reason);
});

test('LinkedController aborts with its parent, not the other way round, until it is disposed of', () => {
  const parent = new AbortController();
  const child = new LinkedController(parent.signal, undefined);
  const sibling = new LinkedController(parent.signal);
  sibling.abort(new Error('own'));
  expect(parent.signal.aborted).toBe(false);
  child[Symbol.dispose]();
  sibling[Symbol.dispose]();
  expect(getEventListeners(parent.signal, 'abort')).toHaveLength(0);
  parent.abort('late');
  expect(child.signal.aborted).toBe(false);
  expect(new LinkedController(parent.signal).signal.reason).toBe('late');
});

test('sleep ends with the reason of its signal', async () => {
  await sleep(1);
  await expect(sleep(60_000, AbortSignal.timeout(5))).rejects.toMatchObject({ name: 'TimeoutError' });
  await expect(sleep(60_000, AbortSignal.abort('now'))).rejects.toBe('now');
});

test('digestFile reads a file of several pieces, and stops with the reason of its signal', async () => {
  const path = join(await makeScratch(), 'file');
  const data = randomBytes(3_500_000);
  await writeFile(path, data);
  let bytes = 0;
  const result = await digestFile(path, { algorithm: 'sha512', onBytes: (count) => (bytes += count) });
  expect(result).toEqual({ hex: createHash('sha512').update(data).digest('hex'), size: data.length });
  expect(bytes).toBe(data.length);
  const controller = new AbortController();
  const stopped = digestFile(path, { signal: controller.signal, onBytes: () => controller.abort('enough') });
  await expect(stopped).rejects.toBe('enough');
  await expect(digestFile(`${path}-not`)).rejects.toMatchObject({
    code: 'NOT_FOUND',
    context: { path: `${path}-not` },
  });
});

test('digestJson depends on the value only', () => {
  expect(digestJson({ b: 1, a: [true, null, 'x'] })).toBe(digestBytes('{"a":[true,null,"x"],"b":1}'));
  expect(digestJson(['a b'])).not.toBe(digestJson(['a', 'b']));
  for (const value of [undefined, Number.NaN, 1n, new Map(), new Date(), { a: undefined }, [() => {}]]) {
    expect(() => digestJson(value as never)).toThrow(TypeError);
  }
});

test('digestJson ignores the order of keys and survives a round trip', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (value) => {
      const reversed = Object.fromEntries(Object.entries(value).reverse());
      expect(digestJson(reversed as never)).toBe(digestJson(value as never));
      expect(digestJson(JSON.parse(JSON.stringify(value)))).toBe(digestJson(value as never));
    }),
  );
});

test('writeFileAtomically replaces a file and leaves nothing else, on failure too', async () => {
  const folder = await makeScratch();
  const path = join(folder, 'file');
  await writeFileAtomically(path, 'one');
  await writeFileAtomically(path, Buffer.from('two'));
  expect(await readFile(path, 'utf8')).toBe('two');
  await makeFolder(join(folder, 'taken', 'inner'));
  await expect(writeFileAtomically(join(folder, 'taken'), 'x')).rejects.toMatchObject({ code: 'IO' });
  await expect(writeFileAtomically(join(folder, 'no', 'file'), 'x')).rejects.toMatchObject({
    code: 'NOT_FOUND',
  });
  expect((await readdir(folder)).sort()).toEqual(['file', 'taken']);
});

test('makeFolder makes what is missing, follows links, and refuses what cannot be a folder', async () => {
  const scratch = await makeScratch();
  const folder = join(scratch, 'a', 'b', 'c');
  await makeFolder(folder, 0o700);
  await Promise.all([makeFolder(folder), makeFolder(join(folder, 'd')), makeFolder(join(folder, 'd'))]);
  expect((await stat(join(scratch, 'a'))).mode & 0o777).toBe(0o700);
  expect((await stat(folder)).mode & 0o777).toBe(0o700);
  await symlink(folder, join(scratch, 'link'));
  await makeFolder(join(scratch, 'link', 'e'));
  expect((await readdir(folder)).sort()).toEqual(['d', 'e']);
  await writeFile(join(scratch, 'file'), '');
  await expect(makeFolder(join(scratch, 'file'))).rejects.toMatchObject({ code: 'IO' });
  await expect(makeFolder(join(scratch, 'file', 'x'))).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await symlink(join(scratch, 'nowhere'), join(scratch, 'dangling'));
  await expect(makeFolder(join(scratch, 'dangling'))).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await expect(makeFolder('')).rejects.toMatchObject({ code: 'NOT_FOUND' });
});

test('makeFolder gives up where the parent is there and takes no folder', async () => {
  // Node's own recursive mkdir never comes back from this.
  for (const path of ['/proc/rootloom', '/proc/rootloom/x/y', '/proc/self/fd/rootloom']) {
    await expect(makeFolder(path)).rejects.toMatchObject({
      code: 'NOT_FOUND',
      context: { path: expect.stringContaining('rootloom') },
    });
  }
});

test('readJsonFile tells a missing file, bad JSON and a wrong schema apart', async () => {
  const path = join(await makeScratch(), 'file.json');
  const schema = z.object({ a: z.object({ b: z.number() }) });
  await expect(readJsonFile(path, schema, 'the note')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  for (const text of ['', '{', '[1', '\xff']) {
    await writeFile(path, text, 'latin1');
    await expect(readJsonFile(path, schema, 'the note')).rejects.toMatchObject({
      code: 'CORRUPT',
      context: { path },
    });
  }
  await writeJsonAtomically(path, { a: { b: 'text' } });
  await expect(readJsonFile(path, schema, 'the note')).rejects.toThrow(/^Cannot read the note: at a\.b: /);
  await writeJsonAtomically(path, { a: { b: 2 } });
  expect(await readJsonFile(path, schema, 'the note')).toEqual({ a: { b: 2 } });
});

test('moveFile renames inside a filesystem and copies between two', async () => {
  const here = await makeScratch();
  const there = await makeScratch('/dev/shm');
  expect((await stat(here)).dev, 'the two folders are on one filesystem').not.toBe((await stat(there)).dev);
  const data = randomBytes(9_000_000);
  await writeFile(join(here, 'a'), data);
  const inode = (await stat(join(here, 'a'))).ino;
  await moveFile(join(here, 'a'), join(here, 'b'));
  expect((await stat(join(here, 'b'))).ino).toBe(inode);
  let copied = 0;
  await moveFile(join(here, 'b'), join(there, 'c'), { onBytes: (bytes) => (copied += bytes) });
  expect(copied).toBe(data.length);
  expect(await readdir(here)).toEqual([]);
  expect((await readFile(join(there, 'c'))).equals(data)).toBe(true);
  const controller = new AbortController();
  const stopped = moveFile(join(there, 'c'), join(here, 'd'), {
    signal: controller.signal,
    onBytes: () => controller.abort(0),
  });
  await expect(stopped).rejects.toBe(0);
  expect([await readdir(here), await readdir(there)]).toEqual([[], ['c']]);
});

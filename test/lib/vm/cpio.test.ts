import { readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { encodeCpio, FILE_MODE, FOLDER_MODE, PROGRAM_MODE } from '../../../lib/vm/cpio.js';
import { makeScratch } from '../../helpers/temporary.js';

const entries = [
  { path: 'bin', mode: FOLDER_MODE },
  { path: 'bin/program', mode: PROGRAM_MODE, content: Buffer.from('#!/bin/sh\n') },
  { path: 'empty', mode: FILE_MODE },
  { path: 'odd', mode: FILE_MODE, content: Buffer.alloc(4099, 0xa5) },
];

test('encodeCpio writes what the stock cpio unpacks', async () => {
  const folder = await makeScratch();
  const archive = encodeCpio(entries);
  await execa('cpio', ['--extract', '--quiet', '--preserve-modification-time', '--no-absolute-filenames'], {
    cwd: folder,
    input: archive,
  });
  for (const { path: name, mode, content } of entries) {
    const info = await stat(path.join(folder, name));
    expect(info.mode).toBe(mode);
    if (info.isFile()) expect(info.mtimeMs).toBe(0);
    if (info.isFile()) expect(await readFile(path.join(folder, name))).toEqual(Buffer.from(content ?? []));
  }
});

test('encodeCpio gives the same bytes for the same entries', () => {
  expect(encodeCpio(entries).equals(encodeCpio(structuredClone(entries)))).toBe(true);
});

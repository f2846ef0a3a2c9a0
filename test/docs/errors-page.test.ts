import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { ERROR_CODES } from '../../lib/errors.js';

test('docs/errors.md has a section for every code, and for nothing else', async () => {
  const page = await readFile(new URL('../../docs/errors.md', import.meta.url), 'utf8');
  const sections = [...page.matchAll(/^## (\w+)\n\n(\S)/gm)].map((match) => match[1]);
  expect(sections).toEqual(Object.keys(ERROR_CODES));
});

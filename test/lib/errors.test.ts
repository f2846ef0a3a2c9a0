import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { ERROR_CODES } from '../../lib/errors.js';

const STATUS = new URL('../../native/util/status.cc', import.meta.url);
const STATUS_HEADER = new URL('../../native/util/status.h', import.meta.url);

test('ERROR_CODES has every kind of native failure', async () => {
  const source = await readFile(STATUS, 'utf8');
  const names = [...source.matchAll(/case StatusKind::k\w+:\s*return "(\w+)";/g)].map(([, name]) => name);
  const kinds = /enum class StatusKind[^{]*\{(?<list>[^}]*)\}/.exec(
    await readFile(STATUS_HEADER, 'utf8'),
  )?.groups;
  const count = kinds?.list?.match(/\bk[A-Z]\w*/g)?.length;
  expect(names, 'the switch of StatusKindName is not read whole').toHaveLength(count ?? -1);
  expect(Object.keys(ERROR_CODES)).toEqual(expect.arrayContaining(names));
});

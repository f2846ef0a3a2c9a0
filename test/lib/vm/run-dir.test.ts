import { existsSync } from 'node:fs';
import { chmod, mkdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { expect, test } from 'vitest';
import { RunDir } from '../../../lib/vm/run-dir.js';
import { makeScratch } from '../../helpers/temporary.js';

test('RunDir is for its user only, has the marker, and is gone after remove', async () => {
  const area = path.join(await makeScratch(), 'area');
  const runDir = await RunDir.create({ area });
  expect((await stat(runDir.path)).mode & 0o777).toBe(0o700);
  expect(existsSync(runDir.file('rootloom-run-dir'))).toBe(true);
  await mkdir(runDir.file('more'));
  await runDir.remove();
  await runDir.remove();
  expect(existsSync(runDir.path)).toBe(false);
});

test('RunDir.create sweeps what killed owners left, and nothing else', async () => {
  const area = path.join(await makeScratch(), 'area');
  await using living = await RunDir.create({ area });
  const abandoned = path.join(area, 'abandoned');
  await mkdir(abandoned);
  await using _another = await RunDir.create({ area });
  expect(existsSync(abandoned)).toBe(false);
  expect(existsSync(living.path)).toBe(true);
});

test('RunDir.create refuses an area whose sockets would have too long a path', async () => {
  const area = path.join(await makeScratch(), 'x'.repeat(60));
  await expect(RunDir.create({ area })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
});

test('RunDir.create refuses an area that others may change', async () => {
  const area = path.join(await makeScratch(), 'area');
  await mkdir(area);
  await chmod(area, 0o777);
  await expect(RunDir.create({ area })).rejects.toMatchObject({ code: 'BUSY', context: { path: area } });
});

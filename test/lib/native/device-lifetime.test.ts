/** What happens to running native calls when the process or the worker thread that started them ends. */
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

const child = fileURLToPath(new URL('children/slow-export.mjs', import.meta.url));
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'rootloom-lifetime-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

interface Ending {
  code: number | null;
  signal: NodeJS.Signals | null;
  output: string;
}

function run(mode: string): Promise<Ending> {
  const args = ['--expose-gc', child, path.join(folder, 'disk.raw'), mode];
  return new Promise((resolve) => {
    const running = execFile(process.execPath, args, (_error, stdout) => {
      resolve({ code: running.exitCode, signal: running.signalCode, output: stdout.trim() });
    });
  });
}

describe('native calls under way', () => {
  test('are stopped and release everything when the process exits', async () => {
    expect(await run('exit')).toEqual({ code: 7, signal: null, output: '' });
    expect(await readdir(folder)).toEqual([]);
  });

  test('are stopped and release everything when an error ends the process', async () => {
    expect(await run('throw')).toEqual({ code: 1, signal: null, output: '' });
    expect(await readdir(folder)).toEqual([]);
  });

  test('are stopped and release everything when their worker thread is terminated', async () => {
    expect(await run('kill-worker')).toEqual({ code: 0, signal: null, output: 'worker ended with 1' });
    expect(await readdir(folder)).toEqual([]);
  });

  test('are stopped and release everything when their worker thread exits', async () => {
    expect(await run('worker-exit')).toEqual({ code: 0, signal: null, output: 'worker ended with 3' });
    expect(await readdir(folder)).toEqual([]);
  });

  test('survive that threads end while calls start and finish', async () => {
    expect(await run('many-workers')).toEqual({ code: 0, signal: null, output: 'all ended' });
    const files = await readdir(folder);
    expect(files.filter((name) => !/^disk\.raw\.\d+$/.test(name))).toEqual([]);
  });

  test('keep their devices alive when nobody else does', async () => {
    expect(await run('drop')).toEqual({ code: 0, signal: null, output: 'all dropped' });
  });
});

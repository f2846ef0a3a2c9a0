import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createMemoryDevice } from '../../../lib/native/device.js';
import { serve } from '../../../lib/native/export.js';

const PROGRAM = fileURLToPath(new URL('children/open-exports.ts', import.meta.url));

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'rootloom-export-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

/** Runs a process that leaves its exports open, and says what it left behind. */
async function runToTheEnd(scenario: string) {
  const { exitCode, stdout, stderr, timedOut } = await execa(
    'node',
    ['--import', 'tsx', PROGRAM, scenario, folder],
    { reject: false, timeout: 30_000 },
  );
  const sockets = (await readdir(folder)).filter((name) => name.includes('.sock'));
  return { exitCode, stdout, stderr, timedOut, sockets };
}

describe('an export that nobody closed', () => {
  test('does not keep the process alive, and is closed at its end', async () => {
    expect(await runToTheEnd('nothing left to do')).toEqual({
      exitCode: 0,
      stdout: '',
      stderr: '',
      timedOut: false,
      sockets: [],
    });
  });

  test('is closed by process.exit', async () => {
    expect(await runToTheEnd('exit')).toMatchObject({ exitCode: 7, stderr: '', sockets: [] });
  });

  test('is closed by process.exit also when serve has not resolved yet', async () => {
    expect(await runToTheEnd('exit while one is starting')).toMatchObject({
      exitCode: 7,
      stderr: '',
      sockets: [],
    });
  });

  test('is closed when an error ends the process', async () => {
    const { exitCode, stderr, sockets } = await runToTheEnd('error');
    expect({ exitCode, sockets }).toEqual({ exitCode: 1, sockets: [] });
    expect(stderr).toContain('the end');
  });

  test('goes on after its handle was garbage-collected', async () => {
    expect(await runToTheEnd('collect')).toMatchObject({
      exitCode: 0,
      stdout: 'collected and served',
      stderr: '',
      sockets: [],
    });
  });

  test('is closed when its worker thread is terminated, and those of others are not', async () => {
    expect(await runToTheEnd('worker')).toMatchObject({
      exitCode: 0,
      stdout: 'a.sock,b.sock 1 0',
      stderr: '',
      sockets: [],
    });
  });

  test('leaves a socket file when it is killed, which the next server replaces', async () => {
    expect((await runToTheEnd('kill')).sockets).toEqual(['a.sock', 'b.sock']);
    await using device = createMemoryDevice({ size: 4096 });
    await using served = await serve(device, { socketPath: path.join(folder, 'a.sock') });
    await execa('nbdinfo', ['--size', served.uri]);
  });
});

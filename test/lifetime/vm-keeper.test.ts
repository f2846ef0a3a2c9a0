import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, readdir, symlink, writeFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { expect, onTestFinished, test } from 'vitest';
import { findChildren } from '../helpers/processes.js';
import { makeScratch } from '../helpers/temporary.js';

const KEEPER = fileURLToPath(new URL('../../build/Release/rootloom-keeper', import.meta.url));

async function makeRunDir(): Promise<string> {
  const runDir = path.join(await makeScratch(), 'run');
  await mkdir(path.join(runDir, 'folder'), { recursive: true });
  await writeFile(path.join(runDir, 'rootloom-run-dir'), '');
  await writeFile(path.join(runDir, 'folder', 'file'), '');
  return runDir;
}

interface Kept {
  keeper: ChildProcess;
  /** Our end of the pipe that stands for the owner's life. */
  owner: Socket;
  stderr: Promise<string>;
  ended: Promise<[number | null, NodeJS.Signals | null]>;
}

function keep(runDir: string, ...command: string[]): Kept {
  const keeper = spawn(KEEPER, ['--run-dir', runDir, '--', ...command], {
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
  });
  onTestFinished(() => void keeper.kill('SIGKILL'));
  const owner = keeper.stdio[3] as Socket;
  owner.resume();
  keeper.stdout?.resume();
  const stderr = text(keeper.stderr as NodeJS.ReadableStream);
  return { keeper, owner, stderr, ended: once(keeper, 'exit') as Kept['ended'] };
}

/** The command, once it runs. */
async function commandOf({ keeper }: Kept): Promise<number> {
  const find = async () => (await findChildren(keeper.pid as number))[0];
  await expect.poll(find, { timeout: 10_000 }).toBeDefined();
  return (await find()) as number;
}

function isAlive(pid: number): boolean {
  return existsSync(`/proc/${pid}`);
}

test('the keeper ends with the status of its command', async () => {
  const runDir = await makeRunDir();
  const { ended } = keep(runDir, 'sh', '-c', 'exit 42');
  expect(await ended).toEqual([42, null]);
  expect(existsSync(runDir)).toBe(false);
});

test('the keeper ends by the signal that ended its command', async () => {
  const runDir = await makeRunDir();
  const { ended } = keep(runDir, 'sh', '-c', 'kill -SEGV $$');
  expect(await ended).toEqual([null, 'SIGSEGV']);
  expect(existsSync(runDir)).toBe(false);
});

test('the keeper kills a command that ignores signals when its owner lets go', async () => {
  const runDir = await makeRunDir();
  const kept = keep(runDir, 'sh', '-c', 'trap "" TERM INT HUP; while :; do sleep 1; done');
  const command = await commandOf(kept);
  kept.owner.destroy();
  expect(await kept.ended).toEqual([null, 'SIGKILL']);
  expect(isAlive(command)).toBe(false);
  expect(existsSync(runDir)).toBe(false);
});

test.each(['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT'] as const)(
  'the keeper kills its command on %s',
  async (signal) => {
    const runDir = await makeRunDir();
    const kept = keep(runDir, 'sleep', '600');
    const command = await commandOf(kept);
    kept.keeper.kill(signal);
    expect(await kept.ended).toEqual([null, 'SIGKILL']);
    expect(isAlive(command)).toBe(false);
    expect(existsSync(runDir)).toBe(false);
  },
);

test('the command ends when the keeper is killed', async () => {
  const runDir = await makeRunDir();
  const kept = keep(runDir, 'sleep', '600');
  const command = await commandOf(kept);
  kept.keeper.kill('SIGKILL');
  await kept.ended;
  await expect.poll(() => isAlive(command), { timeout: 10_000 }).toBe(false);
});

test("the command gets neither the owner's pipe nor the keeper's signal mask", async () => {
  const runDir = await makeRunDir();
  const { keeper, ended } = keep(runDir, 'sh', '-c', 'ls /proc/self/fd; grep SigBlk /proc/self/status');
  const output = text(keeper.stdout as NodeJS.ReadableStream);
  expect(await ended).toEqual([0, null]);
  const lines = (await output).trim().split('\n');
  expect(lines).toEqual(['0', '1', '2', '3', 'SigBlk:\t0000000000000000']); // 3 is the folder that ls reads.
});

test('the keeper says why a command cannot be started, and removes the run directory', async () => {
  const runDir = await makeRunDir();
  const { stderr, ended } = keep(runDir, '/no/such/program');
  expect(await ended).toEqual([127, null]);
  expect(await stderr).toContain('/no/such/program');
  expect(existsSync(runDir)).toBe(false);
});

test('the keeper removes nothing without the marker, and follows no link', async () => {
  const folder = await makeScratch();
  await writeFile(path.join(folder, 'mine'), '');
  const unmarked = keep(folder, 'true');
  expect(await unmarked.ended).toEqual([64, null]);
  expect(await unmarked.stderr).toContain('rootloom-run-dir');
  expect(await readdir(folder)).toEqual(['mine']);

  const runDir = await makeRunDir();
  await symlink(folder, path.join(runDir, 'link'));
  expect(await keep(runDir, 'true').ended).toEqual([0, null]);
  expect(existsSync(runDir)).toBe(false);
  expect(await readdir(folder)).toEqual(['mine']);
});

test('the keeper refuses a link to a run directory', async () => {
  const runDir = await makeRunDir();
  const link = `${runDir}-link`;
  await symlink(runDir, link);
  expect(await keep(link, 'true').ended).toEqual([64, null]);
  expect(existsSync(runDir)).toBe(true);
});

test('the keeper says how it is used', async () => {
  const { exitCode, stderr } = await execa(KEEPER, ['--help'], { reject: false });
  expect(exitCode).toBe(64);
  expect(stderr).toContain('usage');
});

test('the keeper measures the counter about equally each time', async () => {
  const measure = async () => Number((await execa(KEEPER, ['--tsc-khz'])).stdout);
  const [first, second] = [await measure(), await measure()];
  expect(first).toBeGreaterThan(100_000);
  expect(Math.abs(first / second - 1)).toBeLessThan(0.001);
});

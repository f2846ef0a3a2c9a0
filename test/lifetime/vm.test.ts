import { existsSync } from 'node:fs';
import { expect, test } from 'vitest';
import { ensureKernelBundle } from '../../lib/vm/kernel-bundle.js';
import { findChildren, findProcesses } from '../helpers/processes.js';
import { type Child, startChild } from '../helpers/temporary.js';

const OWNER = new URL('./vm-owner.ts', import.meta.url);

/** Starts an owner, and resolves with the run directory of its machine, which is up. */
async function startOwner(ending: string): Promise<{ owner: Child; runDir: string }> {
  await ensureKernelBundle();
  const owner = startChild(OWNER, [ending]);
  await expect.poll(() => owner.lines[0], { timeout: 50_000 }).toBeDefined();
  return { owner, runDir: owner.lines[0] as string };
}

/** No process names the run directory in its arguments, as keeper and QEMU do, and the directory itself is gone. */
async function expectNothingLeft(runDir: string): Promise<void> {
  await expect.poll(() => findProcesses(runDir), { timeout: 20_000 }).toEqual([]);
  await expect.poll(() => existsSync(runDir), { timeout: 20_000 }).toBe(false);
}

async function expectRunning(runDir: string): Promise<{ keeper: number; qemu: number }> {
  const [keeper = 0, qemu = 0, ...more] = await findProcesses(runDir);
  expect(more).toEqual([]);
  expect(existsSync(runDir)).toBe(true);
  expect(await findChildren(keeper)).toEqual([qemu]);
  return { keeper, qemu };
}

test.each(['SIGKILL', 'SIGINT', 'SIGTERM', 'SIGHUP'] as const)(
  'a machine ends with its owner, ended by %s',
  async (signal) => {
    const { owner, runDir } = await startOwner('wait');
    await expectRunning(runDir);
    owner.process.kill(signal);
    await owner.waitForExit();
    await expectNothingLeft(runDir);
  },
);

test.each([
  ['throw', 1],
  ['exit', 3],
  ['return', 0],
])('a machine ends with its owner, that ends by %s', async (ending, exitCode) => {
  const { owner, runDir } = await startOwner(ending);
  expect(await owner.waitForExit()).toBe(exitCode);
  await expectNothingLeft(runDir);
});

test('QEMU ends with its keeper, and the owner cleans up', async () => {
  const { runDir } = await startOwner('wait');
  const { keeper } = await expectRunning(runDir);
  process.kill(keeper, 'SIGKILL');
  await expectNothingLeft(runDir);
});

test('QEMU that is killed takes everything with it', async () => {
  const { runDir } = await startOwner('wait');
  const { qemu } = await expectRunning(runDir);
  process.kill(qemu, 'SIGKILL');
  await expectNothingLeft(runDir);
});

test('owner and keeper killed at once leave no process, and their directory to the next one', async () => {
  const { owner, runDir } = await startOwner('wait');
  const { keeper } = await expectRunning(runDir);
  process.kill(keeper, 'SIGSTOP'); // So that it cannot clean up in between.
  owner.process.kill('SIGKILL');
  process.kill(keeper, 'SIGKILL');
  await expect.poll(() => findProcesses(runDir), { timeout: 20_000 }).toEqual([]);
  const next = await startOwner('return');
  await next.owner.waitForExit();
  await expectNothingLeft(runDir);
  await expectNothingLeft(next.runDir);
});

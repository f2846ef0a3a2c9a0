import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, expect, test, vi } from 'vitest';
import { findTool } from '../../../lib/util/tool.js';
import { chooseAcceleration } from '../../../lib/vm/acceleration.js';
import { ensureKernelBundle } from '../../../lib/vm/kernel-bundle.js';
import { openQemuDriver } from '../../../lib/vm/qemu.js';
import { findProcesses } from '../../helpers/processes.js';
import { makeScratch } from '../../helpers/temporary.js';

const QEMU = 'qemu-system-x86_64';

afterEach(() => {
  vi.unstubAllEnvs();
});

test('openQemuDriver names the package when QEMU is missing', async () => {
  vi.stubEnv('PATH', await makeScratch());
  await expect(openQemuDriver({ accelerator: 'tcg' })).rejects.toMatchObject({
    code: 'TOOL_MISSING',
    message: expect.stringContaining('qemu-system-x86'),
  });
});

test('openQemuDriver does as it is told', async () => {
  const driver = await openQemuDriver({ accelerator: 'tcg' });
  expect(driver.acceleration).toEqual({ accelerator: 'tcg', reason: 'it was asked for' });
});

test('chooseAcceleration boots a guest under KVM once, and remembers how it went', {
  timeout: 120_000,
}, async () => {
  const cacheDir = await makeScratch();
  const note = path.join(cacheDir, 'kvm-probe.json');
  await writeFile(note, 'damaged');
  const program = await findTool(QEMU, 'test');
  const kernel = await ensureKernelBundle();
  const chosen = await chooseAcceleration(program, { cacheDir, kernel });
  expect(chosen.reason).not.toBe('');
  const written = await readFile(note, 'utf8');
  if (existsSync('/dev/kvm')) {
    const { works, reason } = JSON.parse(written);
    expect(works).toBe(chosen.accelerator === 'kvm');
    expect(chosen.reason).toContain(reason);
    if (!works) expect(chosen.reason).toContain(note);
  } else {
    expect(chosen.accelerator).toBe('tcg');
  }
  await expect(chooseAcceleration(program, { cacheDir, kernel })).resolves.toEqual(chosen);
  expect(await readFile(note, 'utf8')).toBe(written);
});

test('chooseAcceleration that is aborted leaves nothing', async () => {
  const cacheDir = await makeScratch();
  const program = await findTool(QEMU, 'test');
  const kernel = await ensureKernelBundle();
  const choosing = chooseAcceleration(program, { cacheDir, kernel, signal: AbortSignal.timeout(300) });
  await choosing.catch((error: unknown) => expect(error).toMatchObject({ name: 'TimeoutError' }));
  expect(await findProcesses('rootloom.probe')).toEqual([]);
});

import { readdir, readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { expect, test } from 'vitest';
import { RootloomError, type RootloomErrorCode } from '../../../lib/errors.js';
import { recallTrial } from '../../../lib/vm/kvm-trial.js';
import { makeScratch } from '../../helpers/temporary.js';

const failing = (code: RootloomErrorCode) => () => Promise.reject(new RootloomError(code, `a ${code}`));
const unwanted = () => Promise.reject(new Error('the trial was repeated'));

test.each(['GUEST_TIMEOUT', 'VM_FAILED'] as const)(
  'recallTrial notes that a guest did not start (%s), and tries again when the note is removed',
  async (code) => {
    const cacheDir = await makeScratch();
    const note = path.join(cacheDir, 'kvm-probe.json');
    const outcome = await recallTrial('host', { cacheDir }, failing(code));
    expect(outcome.works).toBe(false);
    expect(outcome.reason).toContain(`a ${code}`);
    expect(outcome.reason).toContain(note);
    expect(JSON.parse(await readFile(note, 'utf8'))).toEqual({
      host: 'host',
      works: false,
      reason: `a ${code}`,
    });
    await expect(recallTrial('host', { cacheDir }, unwanted)).resolves.toEqual(outcome);
    await rm(note);
    const works = { works: true, reason: 'a guest under KVM started' };
    await expect(recallTrial('host', { cacheDir }, async () => {})).resolves.toEqual(works);
    await expect(recallTrial('host', { cacheDir }, unwanted)).resolves.toEqual(works);
    await expect(recallTrial('other', { cacheDir }, failing(code))).resolves.toEqual(outcome);
  },
);

test.each(['NO_SPACE', 'BUSY', 'TOOL_MISSING', 'IO', 'CLEANUP_FAILED'] as const)(
  'recallTrial passes %s on and notes nothing',
  async (code) => {
    const cacheDir = await makeScratch();
    await expect(recallTrial('host', { cacheDir }, failing(code))).rejects.toMatchObject({ code });
    expect(await readdir(cacheDir)).toEqual(['kvm-probe-lock']);
  },
);

test('recallTrial that is aborted notes nothing', async () => {
  const cacheDir = await makeScratch();
  const controller = new AbortController();
  const trial = async () => {
    controller.abort('enough');
    throw new RootloomError('VM_FAILED', 'the guest was stopped');
  };
  await expect(recallTrial('host', { cacheDir, signal: controller.signal }, trial)).rejects.toBe('enough');
  expect(await readdir(cacheDir)).toEqual(['kvm-probe-lock']);
});

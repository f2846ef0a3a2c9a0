/**
 * The trial boot under KVM, remembered: it takes seconds where KVM is broken, and its outcome does not change until the host
 * boots again or gets another kernel or QEMU.
 */
import path from 'node:path';
import type { Logger } from 'pino';
import { z } from 'zod';
import { isRootloomError } from '../errors.js';
import { readJsonFile, writeJsonAtomically } from '../util/atomic-file.js';
import { withFileLock } from '../util/file-lock.js';

const storedTrial = z.strictObject({
  /** What the outcome depends on. */
  host: z.string(),
  works: z.boolean(),
  reason: z.string(),
});

export interface TrialOutcome {
  works: boolean;
  /** A sentence for people; says where the note is when guests do not start. */
  reason: string;
}

export interface TrialOptions {
  /** The outcome is kept in its file kvm-probe.json. */
  cacheDir: string;
  signal?: AbortSignal | undefined;
  logger?: Logger | undefined;
}

/**
 * Gives the outcome that was noted for this host, or runs `trial` and notes its outcome: it worked when it resolves, and KVM does
 * not work when the guest did not start (GUEST_TIMEOUT, VM_FAILED). Any other error says nothing about KVM: it is passed on, and
 * nothing is noted. Whoever removes the note has the trial repeated. One process at a time tries.
 */
export async function recallTrial(
  host: string,
  { cacheDir, signal, logger }: TrialOptions,
  trial: () => Promise<void>,
): Promise<TrialOutcome> {
  const note = path.join(cacheDir, 'kvm-probe.json');
  const { works, reason } = await withFileLock(path.join(cacheDir, 'kvm-probe-lock'), signal, async () => {
    const stored = await readNote(note);
    if (stored?.host === host) return stored;
    logger?.info('booting a guest under KVM, to see whether it works');
    const outcome = await run(trial, signal);
    await writeJsonAtomically(note, { host, ...outcome });
    return outcome;
  });
  return { works, reason: works ? reason : `${reason} (noted in ${note}, remove it to try again)` };
}

/** A missing, old or damaged note is none. */
async function readNote(note: string): Promise<z.infer<typeof storedTrial> | undefined> {
  return readJsonFile(note, storedTrial, 'the outcome of the KVM trial').catch(() => undefined);
}

async function run(trial: () => Promise<void>, signal: AbortSignal | undefined): Promise<TrialOutcome> {
  try {
    await trial();
    return { works: true, reason: 'a guest under KVM started' };
  } catch (error) {
    signal?.throwIfAborted();
    if (!isRootloomError(error, 'GUEST_TIMEOUT') && !isRootloomError(error, 'VM_FAILED')) throw error;
    return { works: false, reason: error.message };
  }
}

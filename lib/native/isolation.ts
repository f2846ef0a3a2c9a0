/** Where the ext4 engine runs: in a helper process for filesystems that nobody vouches for, or in this one. */
import { randomUUID } from 'node:crypto';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { CallOptions } from './call.js';
import { findHelper } from './helper-program.js';

/** See `Isolation`. */
export const ISOLATIONS = ['process', 'none'] as const;

/**
 * `process`: the engine works in a process of its own, which has no rights but to its disk, memory up to a limit, and time. Should
 * it crash, hang or answer nonsense, the call rejects with ENGINE_CRASHED, and nothing is changed: what it writes gets to the
 * device only after it has succeeded, of a tree with each `flush`. `none`: it works in this process, quicker by some milliseconds (a rebuild of many files by some
 * tens of them), and a filesystem made to do harm may end the process, or worse.
 */
export type Isolation = (typeof ISOLATIONS)[number];

/** What the engine may need besides the device. */
export interface EngineOptions extends CallOptions {
  /** Default `process`. */
  isolation?: Isolation | undefined;
  /** Where changed blocks are kept until they are final, in files without a name. Default: `os.tmpdir()`. */
  scratchFolder?: string | undefined;
}

/** What the addon is told: a name for files beside which there are no others, and the helper, if there shall be one. */
export interface EngineRequest {
  scratchPath: string;
  isolation: { helperPath: string; scratchPath: string } | undefined;
}

/** Throws TypeError for what is no isolation. */
export function validateIsolation(isolation: unknown): asserts isolation is Isolation | undefined {
  if (isolation === undefined || (ISOLATIONS as readonly unknown[]).includes(isolation)) return;
  throw new TypeError(
    `Cannot use isolation ${String(isolation)}: it must be one of ${ISOLATIONS.join(', ')}`,
  );
}

/** Throws TOOL_MISSING when there is no helper. */
export function engineRequest({
  isolation = 'process',
  scratchFolder = tmpdir(),
}: EngineOptions): EngineRequest {
  const scratchPath = path.join(scratchFolder, `rootloom-scratch-${randomUUID()}`);
  validateIsolation(isolation);
  if (isolation === 'none') return { scratchPath, isolation: undefined };
  const helperPath = findHelper('rootloom-ext4', 'isolate the ext4 engine');
  return { scratchPath, isolation: { helperPath, scratchPath } };
}

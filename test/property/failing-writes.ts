/** Steps whose writes to their own files fail: by strace, which makes the system calls of a child fail. */
import { readFile } from 'node:fs/promises';
import { constants } from 'node:os';
import path from 'node:path';
import { build } from 'esbuild';
import { execa } from 'execa';
import { RootloomError } from '../../lib/errors.js';
import type { Random } from '../helpers/random.js';
import { type Chain, type Places, type Step, writtenFiles } from './step.js';

const child = new URL('./children/step.ts', import.meta.url).pathname;

/**
 * Makes one file of the program that performs such steps, for it starts in a quarter of the time that its parts take. The folder must
 * be two below the package's root, as the library's own are.
 */
export async function bundleFaultyStep(folder: string): Promise<string> {
  const program = path.join(folder, 'step.mjs');
  const options = { platform: 'node', format: 'esm', target: 'node20', packages: 'external' } as const;
  await build({ ...options, bundle: true, entryPoints: [child], outfile: program });
  return program;
}

const CALLS = {
  write: ['pwrite64', 'pwritev', 'write'],
  sync: ['fsync', 'fdatasync', 'sync_file_range'],
} as const;

/** What goes wrong with which file. */
export interface WriteFault {
  file: 'upper' | 'diff' | 'header';
  kind: keyof typeof CALLS;
  error: 'EIO' | 'ENOSPC' | 'EDQUOT';
  /** How many calls of a thread go well. */
  skip: number;
}

export function nextWriteFault(random: Random): WriteFault {
  const file = random.pick(['upper', 'diff', 'header']);
  // Nobody syncs the upper of a disk that is sealed.
  const kind = file === 'upper' ? 'write' : random.pick(['write', 'write', 'sync']);
  const skip = file === 'header' || kind === 'sync' ? 0 : random.integer(0, 12);
  return { file, kind, error: random.pick(['EIO', 'ENOSPC', 'EDQUOT']), skip };
}

/** Whether an error is what a fault makes of a step. */
export function isFailureOf({ error }: WriteFault, { code, context }: RootloomError): boolean {
  return context.errno === constants.errno[error] && code === (error === 'EIO' ? 'IO' : 'NO_SPACE');
}

/** As `performStep`, by the program of `bundleFaultyStep`, with the fault. The fault may come too late to be met. */
export async function performWithFault(
  chain: Chain,
  step: Step,
  places: Places,
  fault: WriteFault,
  program: string,
): Promise<Chain> {
  const header = chain.header.toString('base64');
  const input = JSON.stringify({ chain: { ...chain, header: undefined }, header, step, places });
  const files = writtenFiles(places);
  const calls = CALLS[fault.kind].join(',');
  const strace = [
    ...['-f', '-qq', '-o', '/dev/null', '--seccomp-bpf', '-P', files[fault.file], '-e', `trace=${calls}`],
    ...['-e', `inject=${calls}:error=${fault.error}:when=${fault.skip + 1}+`],
  ];
  const { stdout } = await execa('strace', [...strace, process.execPath, program], { input });
  const { done, failed, broken } = JSON.parse(stdout);
  if (failed !== undefined) throw new RootloomError(failed.code, failed.message, failed.context);
  if (broken !== undefined) throw new Error(broken);
  return { ...done, header: await readFile(files.header) };
}

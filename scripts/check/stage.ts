/** One stage of the check: a command, how many tests it passed, and which failed. */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { availableParallelism, constants } from 'node:os';
import path from 'node:path';

export interface Outcome {
  passed: number;
  /** What failed, by name. */
  failures: readonly string[];
}

export interface Stage {
  name: string;
  run(): Promise<Outcome>;
}

export const PASSED: Outcome = { passed: 1, failures: [] };

export function failure(name: string): Outcome {
  return { passed: 0, failures: [name] };
}

export const CORES = availableParallelism();

export function sumOutcomes(outcomes: readonly Outcome[]): Outcome {
  return {
    passed: outcomes.reduce((sum, { passed }) => sum + passed, 0),
    failures: outcomes.flatMap(({ failures }) => failures),
  };
}

interface CommandOptions {
  environment?: NodeJS.ProcessEnv;
  /** A descriptor that gets both output streams; shown by default. */
  output?: number;
}

/** Runs a command. Resolves with its exit status: 128 + the signal's number when it was killed, 127 when it is not installed. */
export function runCommand(
  command: string,
  args: readonly string[],
  { environment = {}, output }: CommandOptions = {},
): Promise<number> {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      stdio: ['ignore', output ?? 'inherit', output ?? 'inherit'],
      env: { ...process.env, ...environment },
    });
    child.once('error', ({ message }) => {
      console.error(`Cannot run ${command}: ${message}`);
      resolve(127);
    });
    child.once('close', (code, signal) =>
      resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])),
    );
  });
}

/** Configures the build folder of a preset, and builds targets there. Resolves with whether both went well. */
export async function buildPreset(preset: string, ...targets: readonly string[]): Promise<boolean> {
  return (
    (await runCommand('cmake', ['--preset', preset, '--log-level=WARNING'])) === 0 &&
    (await runCommand('cmake', ['--build', path.join('build', preset), '--target', ...targets])) === 0
  );
}

/** A stage that either holds or does not: a formatter, a type checker. */
export function checkStage(name: string, command: string, args: readonly string[]): Stage {
  return { name, run: async () => ((await runCommand(command, args)) === 0 ? PASSED : failure(name)) };
}

/** The processor time of all children of this process that have ended, and of theirs; see proc(5), /proc/pid/stat. */
export function childrenSeconds(): number {
  const ticksPerSecond = 100; // USER_HZ, the same on every architecture that Node runs on.
  const fields = readFileSync('/proc/self/stat', 'utf8').split(') ').at(-1)?.split(' ') ?? [];
  return (Number(fields[13]) + Number(fields[14])) / ticksPerSecond;
}

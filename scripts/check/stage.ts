/** One stage of the check: a command, and how many tests it passed and failed. */
import { spawn } from 'node:child_process';
import { availableParallelism, constants } from 'node:os';

export interface Outcome {
  passed: number;
  failed: number;
}

export interface Stage {
  name: string;
  run(): Promise<Outcome>;
}

export const PASSED: Outcome = { passed: 1, failed: 0 };
export const FAILED: Outcome = { passed: 0, failed: 1 };

export const CORES = availableParallelism();

export function sumOutcomes(outcomes: readonly Outcome[]): Outcome {
  return outcomes.reduce(
    (sum, { passed, failed }) => ({ passed: sum.passed + passed, failed: sum.failed + failed }),
    { passed: 0, failed: 0 },
  );
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

/** Configures a build folder, and builds targets there. Resolves with whether both went well. */
export async function buildWithCMake(
  folder: string,
  options: readonly string[],
  ...targets: readonly string[]
): Promise<boolean> {
  const configure = ['-S', '.', '-B', folder, '-G', 'Ninja', '--log-level=WARNING', ...options];
  return (
    (await runCommand('cmake', configure)) === 0 &&
    (await runCommand('cmake', ['--build', folder, '--target', ...targets])) === 0
  );
}

/** A stage that either holds or does not: a formatter, a type checker. */
export function checkStage(name: string, command: string, args: readonly string[]): Stage {
  return { name, run: async () => ((await runCommand(command, args)) === 0 ? PASSED : FAILED) };
}

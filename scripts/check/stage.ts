/** One stage of the check: a command, and how many tests it passed and failed. */
import { spawn } from 'node:child_process';

export interface Outcome {
  passed: number;
  failed: number;
}

export interface Stage {
  name: string;
  run(): Promise<Outcome>;
}

/** Runs a command with its output shown; resolves with its exit code (128 + signal when it was killed). */
export function runCommand(
  command: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      stdio: ['ignore', 'inherit', 'inherit'],
      env: { ...process.env, ...env },
    });
    child.once('error', reject);
    child.once('close', (code, signal) => resolve(code ?? (signal === null ? 1 : 128)));
  });
}

/** A stage that either holds or does not: a formatter, a type checker. */
export function checkStage(name: string, command: string, args: readonly string[]): Stage {
  return {
    name,
    run: async () =>
      (await runCommand(command, args)) === 0 ? { passed: 1, failed: 0 } : { passed: 0, failed: 1 },
  };
}

/** The `rootloom` command as users run it: compiled, and a process of its own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { onTestFinished } from 'vitest';
import { withFileLock } from '../../lib/util/file-lock.js';
import { statIfThere } from '../../lib/util/lookup.js';

export const PROJECT = fileURLToPath(new URL('../..', import.meta.url));
const MAIN = path.join(PROJECT, 'dist/cli/main.js');

async function newestSourceTime(): Promise<number> {
  const entries = await readdir(path.join(PROJECT, 'lib'), { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  const stats = await Promise.all(files.map(({ parentPath, name }) => stat(path.join(parentPath, name))));
  return Math.max(...stats.map(({ mtimeMs }) => mtimeMs));
}

/** Compiles lib/ into dist/ when something has changed since; types are a check of their own. */
async function compile(): Promise<void> {
  await mkdir(path.join(PROJECT, 'build'), { recursive: true });
  await withFileLock(path.join(PROJECT, 'build/dist-lock'), undefined, async () => {
    const builtAt = (await statIfThere(MAIN))?.mtimeMs ?? 0;
    if (builtAt > (await newestSourceTime())) return;
    const local = { cwd: PROJECT, preferLocal: true };
    await execa('tsc', ['-p', 'tsconfig.build.json', '--noCheck'], local);
    await execa('tsx', ['scripts/copy-assets.ts'], local);
  });
}

/** The compiled program's file. */
export async function cliFile(): Promise<string> {
  await compile();
  return MAIN;
}

export interface CliOptions {
  /** Folder of the store. */
  store?: string;
  cwd?: string;
  environment?: NodeJS.ProcessEnv;
  input?: string;
}

export interface CliResult {
  exitCode: number | undefined;
  stdout: string;
  stderr: string;
}

function environmentOf({ store, environment }: CliOptions): NodeJS.ProcessEnv {
  return { ...process.env, ...(store !== undefined && { ROOTLOOM_STORE: store }), ...environment };
}

/** Runs the command to its end. */
export async function runCli(args: readonly string[], options: CliOptions = {}): Promise<CliResult> {
  const { exitCode, stdout, stderr } = await execa(process.execPath, [await cliFile(), ...args], {
    env: environmentOf(options),
    extendEnv: false,
    reject: false,
    stripFinalNewline: false,
    ...(options.cwd !== undefined && { cwd: options.cwd }),
    ...(options.input === undefined ? { stdin: 'ignore' as const } : { input: options.input }),
  });
  return { exitCode, stdout, stderr };
}

/** Runs it with --json. An answer on standard output, or an error on standard error, is parsed. */
export async function runCliJson([command = '', ...args]: readonly string[], options: CliOptions = {}) {
  const { exitCode, stdout, stderr } = await runCli([command, '--json', ...args], options);
  // biome-ignore lint/suspicious/noExplicitAny: what JSON holds is for the test to say.
  const parse = (text: string): any => (text === '' ? undefined : JSON.parse(text));
  return { exitCode, answer: parse(stdout), error: parse(stderr)?.error };
}

/** The command while it runs; killed at the latest when the test ends. */
export class RunningCli {
  stdout = '';
  stderr = '';
  readonly #process: ChildProcess;
  readonly #closed: Promise<unknown>;

  private constructor(child: ChildProcess) {
    this.#process = child;
    this.#closed = once(child, 'close');
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text;
    });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
  }

  static async start(args: readonly string[], options: CliOptions = {}): Promise<RunningCli> {
    const child = spawn(process.execPath, [await cliFile(), ...args], {
      env: environmentOf(options),
      stdio: ['ignore', 'pipe', 'pipe'],
      cwd: options.cwd,
    });
    onTestFinished(() => {
      child.kill('SIGKILL');
    });
    return new RunningCli(child);
  }

  get pid(): number {
    return this.#process.pid as number;
  }

  /** Waits until the command has written text that matches, to either stream. */
  async waitFor(pattern: RegExp): Promise<void> {
    const isThere = () => pattern.test(this.stdout) || pattern.test(this.stderr);
    while (!isThere()) {
      const streams = [this.#process.stdout, this.#process.stderr];
      const ended = this.#closed.then(() => 'ended' as const);
      const more = Promise.race(streams.map((stream) => stream && once(stream, 'data')));
      if ((await Promise.race([more, ended])) === 'ended' && !isThere()) {
        throw new Error(`The command ended without ${pattern}: ${this.stdout}${this.stderr}`);
      }
    }
  }

  /** The reader of its standard output goes away. */
  closeOutput(): void {
    this.#process.stdout?.destroy();
  }

  /** Sends a signal and waits for the end. */
  async end(signal: NodeJS.Signals): Promise<{ exitCode: number | null; signal: NodeJS.Signals | null }> {
    this.#process.kill(signal);
    return this.waitForExit();
  }

  async waitForExit(): Promise<{ exitCode: number | null; signal: NodeJS.Signals | null }> {
    await this.#closed;
    return { exitCode: this.#process.exitCode, signal: this.#process.signalCode };
  }
}

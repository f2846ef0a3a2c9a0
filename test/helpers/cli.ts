/** The `rootloom` command as users run it: compiled, and a process of its own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { execa } from 'execa';
import { onTestFinished } from 'vitest';
import { sleep } from '../../lib/util/abort.js';
import { CLI_FILE } from './compiled-library.js';
import { findChildren } from './processes.js';

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
  const { exitCode, stdout, stderr } = await execa(process.execPath, [CLI_FILE, ...args], {
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

export interface CliEnd {
  exitCode: number | null;
  signal: NodeJS.Signals | null;
}

/** The command while it runs; killed at the latest when the test ends. */
export class RunningCli {
  stdout = '';
  stderr = '';
  readonly #process: ChildProcess;
  readonly #closed: Promise<unknown>;
  #onOutput: () => void = () => {};

  private constructor(child: ChildProcess) {
    this.#process = child;
    this.#closed = once(child, 'close');
    onTestFinished(() => {
      child.kill('SIGKILL');
    });
    for (const name of ['stdout', 'stderr'] as const) {
      child[name]?.setEncoding('utf8').on('data', (text: string) => {
        this[name] += text;
        this.#onOutput();
      });
    }
  }

  static async start(args: readonly string[], options: CliOptions = {}): Promise<RunningCli> {
    const stdio = ['ignore', 'pipe', 'pipe'] as const;
    const spawnOptions = { env: environmentOf(options), stdio: [...stdio], cwd: options.cwd };
    return new RunningCli(spawn(process.execPath, [CLI_FILE, ...args], spawnOptions));
  }

  /** Runs it on a terminal of its own: all that it prints is `stdout` then. */
  static async startOnTerminal(args: readonly string[], options: CliOptions = {}): Promise<RunningCli> {
    const words = [process.execPath, CLI_FILE, ...args].map((word) => `'${word}'`);
    const command = `stty rows 24 cols 120; exec ${words.join(' ')}`; // A new terminal has no size at all.
    const child = spawn('script', ['--quiet', '--return', '--command', command, '/dev/null'], {
      env: { ...environmentOf(options), TERM: 'xterm' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    return new RunningCli(child);
  }

  get pid(): number {
    return this.#process.pid as number;
  }

  /** Waits until the command has written text that matches, to either stream. */
  async waitFor(pattern: RegExp): Promise<void> {
    const isThere = () => pattern.test(this.stdout) || pattern.test(this.stderr);
    const written = new Promise<void>((resolve) => {
      this.#onOutput = () => isThere() && resolve();
      this.#onOutput();
    });
    await Promise.race([written, this.#closed]);
    if (!isThere()) throw new Error(`The command ended without ${pattern}: ${this.stdout}${this.stderr}`);
  }

  /** Waits until the command has started another program, and gives that one's process. */
  async firstChild(): Promise<number> {
    for (;;) {
      const [child] = await findChildren(this.pid);
      if (child !== undefined) return child;
      const { exitCode, signalCode } = this.#process;
      if (exitCode !== null || signalCode !== null)
        throw new Error(`The command ended without a child: ${this.stderr}`);
      await sleep(10);
    }
  }

  /** The reader of its standard output goes away. */
  closeOutput(): void {
    this.#process.stdout?.destroy();
  }

  /** Sends a signal and waits for the end. */
  async end(signal: NodeJS.Signals): Promise<CliEnd> {
    this.#process.kill(signal);
    return this.waitForExit();
  }

  async waitForExit(): Promise<CliEnd> {
    await this.#closed;
    return { exitCode: this.#process.exitCode, signal: this.#process.signalCode };
  }
}

/** Runs programs under rootloom-keeper, which sees to it that they end with this process, however it ends. */
import { type ChildProcess, spawn } from 'node:child_process';
import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { RootloomError } from '../errors.js';
import { findHelper } from '../native/helper-program.js';
import { loadExeca } from '../util/execa.js';
import { withSystemErrors } from '../util/system-error.js';
import type { RunDir } from './run-dir.js';

/** The keeper ends at once when told to; one that does not is stuck, and its end takes its program along. */
const STOP_TIMEOUT_MS = 10_000;

/** How a process ended: exactly one of the two is set. */
export interface ProcessEnd {
  exitCode: number | null;
  signal: NodeJS.Signals | null;
}

/** A program under a keeper. */
export class KeptProcess {
  /** Resolves when the program is gone, its output read, and its run directory removed. */
  readonly ended: Promise<ProcessEnd>;
  #hasEnded = false;

  private constructor(
    private readonly child: ChildProcess,
    runDir: RunDir,
  ) {
    this.#owner.resume(); // Or its end would never be seen, nor the child's.
    this.#owner.on('error', () => {});
    this.ended = new Promise<ProcessEnd>((resolve) => {
      child.once('close', (exitCode, signal) => {
        this.#hasEnded = true;
        resolve({ exitCode, signal });
      });
    }).then(async (end) => {
      // Normally gone; a keeper that was killed leaves it. What cannot be removed now, the next run directory's maker sweeps.
      await runDir.remove().catch((error: Error) => process.emitWarning(error));
      return end;
    });
  }

  /**
   * Starts a program. The caller reads `stdout` and `stderr` to their end. Rejects with TOOL_MISSING when the keeper is not
   * built; a program that cannot be started shows as an early end with status 127.
   */
  static async start(command: readonly string[], runDir: RunDir): Promise<KeptProcess> {
    // A session of its own: Ctrl-C on our terminal is for us, and we decide what becomes of the program.
    const keeper = findKeeper();
    const child = spawn(keeper, ['--run-dir', runDir.path, '--', ...command], {
      cwd: '/',
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
    });
    const kept = new KeptProcess(child, runDir);
    const spawned = new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve).once('error', reject);
    });
    await withSystemErrors('start', keeper, () => spawned);
    return kept;
  }

  /** The keeper's process id; the program is its only child. */
  get pid(): number {
    return this.child.pid as number;
  }

  get stdout(): Readable {
    return this.child.stdout as Readable;
  }

  get stderr(): Readable {
    return this.child.stderr as Readable;
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** Kills the program, and resolves as `ended` does. */
  async stop(): Promise<ProcessEnd> {
    this.#owner.destroy();
    const timer = setTimeout(() => this.child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    try {
      return await this.ended;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Our end of the pipe whose other end is the keeper's descriptor 3. */
  get #owner(): Socket {
    return this.child.stdio[3] as Socket;
  }
}

/** Measures the rate of this host's time stamp counter, in kHz. Rejects with TOOL_MISSING or UNSUPPORTED. */
export async function measureTscKhz(): Promise<number> {
  const execa = await loadExeca();
  const { stdout, stderr, failed } = await execa(findKeeper(), ['--tsc-khz'], { reject: false });
  if (!failed) return Number(stdout);
  const operation = 'measure the time stamp counter';
  throw new RootloomError('UNSUPPORTED', `Cannot ${operation}: ${stderr}`, { operation });
}

function findKeeper(): string {
  return findHelper('rootloom-keeper', 'start a virtual machine');
}

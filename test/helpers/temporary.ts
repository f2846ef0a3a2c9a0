/** Scratch folders and child processes for tests of what survives a kill. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { onTestFinished } from 'vitest';

/** A new folder, which the caller removes. */
export async function makeScratchFolder(parent = tmpdir()): Promise<string> {
  return mkdtemp(join(parent, 'rootloom-test-'));
}

/** A new folder that is removed when the test ends. */
export async function makeScratch(parent?: string): Promise<string> {
  const path = await makeScratchFolder(parent);
  onTestFinished(() => rm(path, { recursive: true, force: true }));
  return path;
}

const LOADER = new URL('./compiled-library-loader.mjs', import.meta.url).href;

/** A TypeScript file run as a process of its own, with the compiled library. */
export class Child {
  readonly lines: string[] = [];
  private readonly exited: Promise<unknown>;

  constructor(
    readonly process: ChildProcess,
    private readonly onLine: Map<string, () => void> = new Map(),
  ) {
    this.exited = once(process, 'exit');
    if (process.stdout === null) throw new Error('The child has no standard output');
    createInterface(process.stdout).on('line', (line) => {
      this.lines.push(line);
      this.onLine.get(line)?.();
    });
  }

  /** Waits until the child has printed this line. */
  async waitFor(line: string): Promise<void> {
    if (this.lines.includes(line)) return;
    const printed = new Promise<void>((resolve) => this.onLine.set(line, resolve));
    const ended = this.exited.then(() => {
      if (!this.lines.includes(line))
        throw new Error(`The child ended without "${line}": ${this.lines.join(' | ')}`);
    });
    await Promise.race([printed, ended]);
  }

  async kill(): Promise<void> {
    this.process.kill('SIGKILL');
    await this.exited;
  }

  /** Waits for the child to end by itself, and gives its exit code. */
  async waitForExit(): Promise<number | null> {
    await this.exited;
    return this.process.exitCode;
  }
}

/** Starts `file` (a URL beside the test) with arguments; killed at the latest when the test ends. */
export function startChild(file: URL, args: readonly string[]): Child {
  const child = new Child(
    spawn(process.execPath, ['--import', 'tsx', '--import', LOADER, file.pathname, ...args], {
      stdio: ['ignore', 'pipe', 'inherit'],
    }),
  );
  onTestFinished(() => child.kill());
  return child;
}

/**
 * Runs a command inside User-Mode Linux: a Linux kernel as a process of this user's, on the host's own root, which it
 * cannot change.
 *
 * Nothing of it outlives this process, however that ends. It is a tree of many processes, so it gets a process namespace of
 * its own whose first process goes with rootloom-keeper, and the keeper goes with us. Its memory is a file in a mount that
 * only that namespace sees; its sockets are in a run directory that the keeper removes.
 */
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { KeptProcess } from '../../../lib/vm/keeper.js';
import { RunDir } from '../../../lib/vm/run-dir.js';
import { consoleLines, findProblems } from './console.js';

const TREE = fileURLToPath(new URL('../../..', import.meta.url)).replace(/\/$/, '');
const INIT = path.join(TREE, 'test/kernel/harness/init');

/** Of the host, as long as the guest uses it. */
const MEMORY_MIB = 1536;

const SHOWN_CONSOLE_LINES = 40;

export interface UmlOptions {
  /** Run in the project's folder. */
  command: readonly string[];
  /** Absolute. A folder of the host that the guest may write to; emptied first. Gets console.log and output.log. */
  results: string;
  environment?: Readonly<Record<string, string>>;
  /** From the start until the command starts; default 120. */
  bootSeconds?: number;
  /** From then until the guest has powered off; default 900. */
  runSeconds?: number;
  /** The kernel; default: that of Debian's package user-mode-linux. */
  kernel?: string;
}

/** How a run went. */
export interface UmlResult {
  /** Empty when the guest booted, ran the command to its end and went down in order, and its kernel had no complaint. */
  problems: string[];
  /** The command's, when it came to an end. */
  status: number | undefined;
  /** What the command printed. */
  output: string;
}

function quote(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

/** Kernel arguments cannot have spaces in them, so the real ones are in a script that is the init of the kernel's choice. */
async function writeInit(file: string, { command, results, environment = {} }: UmlOptions): Promise<void> {
  const variables = Object.entries(environment).map(([name, value]) => `export ${name}=${quote(value)}\n`);
  const words = [INIT, TREE, results, ...command].map(quote).join(' ');
  await writeFile(file, `#!/bin/sh\n${variables.join('')}exec ${words}\n`, { mode: 0o700 });
}

function kernelCommand(runDir: RunDir, kernel: string): string[] {
  const namespaces = ['unshare', '--mount', '--pid', '--fork', '--kill-child'];
  // Without root a user namespace allows the others. The guest's root then has no more rights on the host's files than we.
  if (userInfo().uid !== 0) namespaces.push('--user', '--map-root-user');
  // UML would put its memory where TMPDIR says, which is a disk.
  const prelude = 'unset TMPDIR TMP TEMP; mount -t tmpfs -o size=100% tmpfs /dev/shm && "$@"; exit $?';
  return [
    ...namespaces,
    ...['/bin/sh', '-c', prelude, 'sh', kernel],
    ...['rootfstype=hostfs', 'rootflags=/', 'ro', `mem=${MEMORY_MIB}M`, 'printk.time=1'],
    ...['con0=null,fd:1', 'con=null', 'ssl=null', `uml_dir=${runDir.path}`, 'umid=uml'],
    `init=${runDir.file('init')}`,
  ];
}

/** One running kernel, and what it has said so far. */
class Guest {
  console = '';
  #isReady = false;
  #deadline: NodeJS.Timeout;
  timedOut: string | undefined;

  constructor(
    private readonly kernel: KeptProcess,
    { bootSeconds = 120, runSeconds = 900 }: UmlOptions,
  ) {
    this.#deadline = this.#stopIn(bootSeconds, 'boot');
    const read = (chunk: Buffer) => {
      this.console += chunk.toString('latin1');
      if (this.#isReady || !this.console.includes('guest: ready')) return;
      this.#isReady = true;
      clearTimeout(this.#deadline);
      this.#deadline = this.#stopIn(runSeconds, 'run its command and power off');
    };
    kernel.stdout.on('data', read);
    kernel.stderr.on('data', read);
  }

  /** Resolves with what went wrong. */
  async finish(): Promise<string[]> {
    const { exitCode, signal } = await this.kernel.ended;
    clearTimeout(this.#deadline);
    const lines = consoleLines(this.console);
    const problems = findProblems(lines);
    if (this.timedOut !== undefined) problems.unshift(this.timedOut);
    if (lines.some((line) => line.startsWith('guest: done')) && this.timedOut === undefined) return problems;
    const end = signal === null ? `exit status ${exitCode}` : signal;
    const stage = this.#isReady ? 'died before its command had come to an end' : 'did not boot';
    const tail = lines.filter((line) => line.trim() !== '').slice(-SHOWN_CONSOLE_LINES);
    return [...problems, `User-Mode Linux ${stage} (${end}); its last words:`, ...tail];
  }

  #stopIn(seconds: number, task: string): NodeJS.Timeout {
    return setTimeout(() => {
      this.timedOut = `User-Mode Linux did not ${task} within ${seconds} s`;
      void this.kernel.stop();
    }, seconds * 1000);
  }
}

async function readIfThere(file: string): Promise<string> {
  return readFile(file, 'utf8').catch(() => '');
}

/** Boots, runs the command, powers off. Whatever goes wrong is in the result. */
export async function runInUml(options: UmlOptions): Promise<UmlResult> {
  const { results, kernel = '/usr/bin/linux.uml' } = options;
  await rm(results, { recursive: true, force: true });
  await mkdir(results, { recursive: true });
  const runDir = await RunDir.create();
  await writeInit(runDir.file('init'), options);
  const guest = new Guest(await KeptProcess.start(kernelCommand(runDir, kernel), runDir), options);
  const problems = await guest.finish();
  await writeFile(path.join(results, 'console.log'), guest.console, 'latin1');
  const status = await readIfThere(path.join(results, 'status'));
  return {
    problems,
    status: status === '' ? undefined : Number(status),
    output: await readIfThere(path.join(results, 'output.log')),
  };
}

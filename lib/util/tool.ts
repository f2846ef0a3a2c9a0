/** Finds and runs the system's programs. */
import { access, constants } from 'node:fs/promises';
import path from 'node:path';
import { RootloomError } from '../errors.js';
import { loadExeca } from './execa.js';
import { isSystemError } from './system-error.js';

const TAIL_LINES = 30;

/** The Debian package of each program. */
const PACKAGES = {
  'apt-cache': 'apt',
  'apt-get': 'apt',
  busybox: 'busybox-static',
  depmod: 'kmod',
  'dpkg-deb': 'dpkg',
  journalctl: 'systemd',
  mount: 'mount',
  'qemu-system-x86_64': 'qemu-system-x86',
  umount: 'mount',
  xz: 'xz-utils',
  zstd: 'zstd',
} as const;

export type Tool = keyof typeof PACKAGES;

export interface ToolOptions {
  cwd?: string | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * Runs a program to its end and resolves with what it wrote. Rejects with TOOL_MISSING, naming the Debian package, IO when it
 * fails (`logTail` has its last lines, `exitCode` its code unless it was killed), or `signal.reason`; it has been killed then.
 *
 * @param operation What it is run for, as it follows "Cannot".
 */
export async function runTool(
  tool: Tool,
  args: readonly string[],
  operation: string,
  { cwd, signal }: ToolOptions = {},
): Promise<Buffer> {
  signal?.throwIfAborted();
  const execa = await loadExeca();
  const result = await execa(tool, args, {
    stdin: 'ignore',
    encoding: 'buffer',
    stripFinalNewline: false,
    maxBuffer: 256 << 20,
    reject: false,
    killSignal: 'SIGKILL',
    env: { LC_ALL: 'C.UTF-8', PATH: searchPath() },
    ...(cwd !== undefined && { cwd }),
    ...(signal && { cancelSignal: signal }),
  });
  signal?.throwIfAborted();
  if (!result.failed) return Buffer.from(result.stdout);
  if (isSystemError(result.cause, 'ENOENT')) throw missingTool(tool, operation);
  const logTail = new TextDecoder().decode(result.stderr).trimEnd().split('\n').slice(-TAIL_LINES);
  const ending =
    result.exitCode === undefined ? `was ended by ${result.signal}` : `ended with ${result.exitCode}`;
  const message = `Cannot ${operation}: ${tool} ${ending}: ${logTail.at(-1) || 'it said nothing'}`;
  const { exitCode } = result;
  throw new RootloomError('IO', message, { operation, logTail, ...(exitCode !== undefined && { exitCode }) });
}

/** Where a program is. Rejects with TOOL_MISSING. */
export async function findTool(tool: Tool, operation: string): Promise<string> {
  for (const folder of searchPath().split(path.delimiter)) {
    const candidate = path.join(folder, tool);
    const isProgram = access(candidate, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (path.isAbsolute(folder) && (await isProgram)) return candidate;
  }
  throw missingTool(tool, operation);
}

function missingTool(tool: Tool, operation: string): RootloomError {
  const message = `Cannot ${operation}: ${tool} is not installed, Debian has it in the package ${PACKAGES[tool]}`;
  return new RootloomError('TOOL_MISSING', message, { operation, path: tool });
}

/** depmod lives where the PATH of an ordinary user does not look. */
function searchPath(): string {
  return `${process.env.PATH ?? '/usr/bin:/bin'}:/usr/sbin:/sbin`;
}

/** Pulls an image from a registry with skopeo, which knows registries, mirrors and credentials. */
import type { Logger } from 'pino';
import { RootloomError } from '../errors.js';
import { loadExeca } from '../util/execa.js';
import { isSystemError } from '../util/system-error.js';
import type { Platform } from './platform.js';

/** How many of its last lines an error keeps. */
const TAIL_LINES = 30;

/** The name that the pulled image gets in its layout. */
export const PULLED_TAG = 'image';

export interface PullOptions {
  signal?: AbortSignal | undefined;
  logger?: Logger | undefined;
}

/**
 * Copies docker://`name` for `platform` into a new image layout at `folder`/`layoutName`, tagged PULLED_TAG.
 *
 * Rejects with TOOL_MISSING without skopeo, IO when it fails (`logTail` has its last lines), or `signal.reason`. On abort skopeo has been
 * killed; what it wrote stays in `folder`.
 */
export async function pullWithSkopeo(
  name: string,
  platform: Platform,
  folder: string,
  layoutName: string,
  { signal, logger }: PullOptions = {},
): Promise<void> {
  signal?.throwIfAborted();
  const variant = platform.variant === undefined ? [] : ['--override-variant', platform.variant];
  const choice = ['--override-os', platform.os, '--override-arch', platform.architecture, ...variant];
  // Relative, for skopeo ends a layout's path at the first colon.
  const target = `oci:${layoutName}:${PULLED_TAG}`;
  const execa = await loadExeca();
  const result = await execa('skopeo', [...choice, 'copy', '--quiet', `docker://${name}`, target], {
    cwd: folder,
    stdin: 'ignore',
    stdout: 'ignore',
    stderr: 'pipe',
    lines: true,
    reject: false,
    killSignal: 'SIGKILL',
    ...(signal && { cancelSignal: signal }),
  });
  signal?.throwIfAborted();
  for (const line of result.stderr) logger?.debug({ tool: 'skopeo' }, line);
  if (!result.failed) return;
  const operation = `pull docker://${name}`;
  if (isSystemError(result.cause, 'ENOENT')) {
    const message = `Cannot ${operation}: skopeo is not installed, install it or give an image layout (oci:PATH)`;
    throw new RootloomError('TOOL_MISSING', message, { operation }, { cause: result.cause });
  }
  const logTail = result.stderr.slice(-TAIL_LINES);
  const ending =
    result.exitCode === undefined ? `was ended by ${result.signal}` : `ended with ${result.exitCode}`;
  const message = `Cannot ${operation}: skopeo ${ending}: ${logTail.at(-1) ?? 'it said nothing'}`;
  throw new RootloomError('IO', message, { operation, logTail });
}

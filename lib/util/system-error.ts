/** The system's errors (Node's ErrnoException) told apart, and translated into RootloomError. */
import { getSystemErrorMap } from 'node:util';
import { type ErrorContext, RootloomError, type RootloomErrorCode } from '../errors.js';

/** True for an error of the system, with one of `codes` when any are given. */
export function isSystemError(error: unknown, ...codes: string[]): error is NodeJS.ErrnoException {
  if (!(error instanceof Error) || !('syscall' in error) || !('code' in error)) return false;
  return codes.length === 0 || codes.includes(String(error.code));
}

const CODES: Record<string, RootloomErrorCode> = {
  ENOENT: 'NOT_FOUND',
  ENOTDIR: 'NOT_FOUND',
  ENOSPC: 'NO_SPACE',
  EDQUOT: 'NO_SPACE',
  EFBIG: 'NO_SPACE',
};

/**
 * Translates an error of the system: missing file → NOT_FOUND, full → NO_SPACE, anything else → IO. Other errors (an abort
 * reason, a RootloomError) come back as they are.
 *
 * @param operation What was being done, as it follows "Cannot": "read the header".
 */
export function fromSystemError(error: unknown, operation: string, path: string): unknown {
  if (!isSystemError(error)) return error;
  const code = error.code ?? 'EIO';
  const reason = getSystemErrorMap().get(error.errno ?? 0)?.[1] ?? 'input/output error';
  const context: ErrorContext = { operation, path };
  if (error.errno !== undefined) context.errno = Math.abs(error.errno);
  const message = `Cannot ${operation} ${path}: ${reason} (${code})`;
  return new RootloomError(CODES[code] ?? 'IO', message, context, { cause: error });
}

/** Runs file work, and translates what the system says. */
export async function withSystemErrors<Value>(
  operation: string,
  path: string,
  work: () => Promise<Value>,
): Promise<Value> {
  try {
    return await work();
  } catch (error) {
    throw fromSystemError(error, operation, path);
  }
}

/**
 * The one error class of rootloom and its closed list of codes.
 *
 * Wrong arguments (a caller's bug) are TypeError or RangeError; everything that can go wrong with a correct program
 * is a RootloomError. An aborted call rejects with its signal's reason instead, whatever that is.
 */

/** Every code, with the sentence that docs/errors.md repeats. */
export const ERROR_CODES = {
  INVALID_ARGUMENT: 'The request can never work as asked',
  NOT_FOUND: 'The named thing does not exist',
  CORRUPT: 'Stored bytes contradict their format or their digest',
  IO: 'A device, a file or the kernel reported an error',
  NO_SPACE: 'The host or the image is full',
  TOO_SMALL: 'The disk cannot be made that small; `minimum` says what would do, in bytes',
  UNSUPPORTED: 'Valid, but not something this version handles',
  CANCELLED: 'A native call was stopped from outside its own signal',
  CLOSED: 'The resource was closed before the call',
  BUSY: 'Another process or call holds what is needed',
  NO_PERMISSION: 'This process lacks a right that the call needs',
  MODULE_MISSING: 'The running kernel lacks a driver that the call needs',
  ENGINE_CRASHED: 'The process that worked on a filesystem ended, hung, or said what makes no sense',
  UNSUPPORTED_DISTRIBUTION: 'The image is of a distribution that provisioning does not know',
  GUEST_FAILED: 'A command in the guest failed',
  GUEST_TIMEOUT: 'The guest did not report in time',
  VM_FAILED: 'The virtual machine could not be started, or ended unexpectedly',
  TOOL_MISSING: 'A program that this call needs is not installed',
  CLEANUP_FAILED: 'Something could not be released; `errors` lists each',
} as const;

export type RootloomErrorCode = keyof typeof ERROR_CODES;

/** What an error may know besides its message. All byte values are plain numbers of bytes. */
export interface ErrorContext {
  /** What was being done, as a verb phrase. */
  operation?: string;
  /** The file, device or in-image path concerned. */
  path?: string;
  /** Where, in bytes. */
  offset?: number;
  /** With TOO_SMALL: the smallest disk size that would do, in bytes. */
  minimum?: number;
  /** The system's error number. */
  errno?: number;
  /** The build concerned, as UUID text. */
  buildId?: string;
  /** Of the guest's command (with GUEST_FAILED) or of the tool that failed. */
  exitCode?: number;
  /** The last lines that the guest or a tool printed. */
  logTail?: readonly string[];
  /** With CLEANUP_FAILED: each failed step's error, in the order of release. */
  errors?: readonly unknown[];
}

export class RootloomError extends Error {
  override readonly name = 'RootloomError';

  constructor(
    readonly code: RootloomErrorCode,
    message: string,
    readonly context: ErrorContext = {},
    options: { cause?: unknown } = {},
  ) {
    super(message, options);
  }
}

/** True for a RootloomError, with that code when one is given. */
export function isRootloomError(error: unknown, code?: RootloomErrorCode): error is RootloomError {
  return error instanceof RootloomError && (code === undefined || error.code === code);
}

/**
 * Arguments from text. The parsers of the API throw TypeError and RangeError for text that is no such value, and here that
 * becomes a usage error. Thrown anywhere else, such an error is a bug, and is reported as one.
 */
import { InvalidArgumentError, Option } from 'commander';
import { parseBuildId, parseByteSize } from '../index.js';

/** Of a timer of Node. */
const MAX_SECONDS = Math.floor((2 ** 31 - 1) / 1000);

/** Of one attachment. */
const MAX_CONNECTIONS = 16;

/** The command line can never be right as it is. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

function isArgumentError(error: unknown): error is TypeError | RangeError {
  return error instanceof TypeError || error instanceof RangeError;
}

/** Runs a check of arguments, and nothing else. */
export function checkUsage<Value>(check: () => Value): Value {
  try {
    return check();
  } catch (error) {
    if (isArgumentError(error)) throw new UsageError(error.message, { cause: error });
    throw error;
  }
}

/** A parser in commander's form, so that commander names the option or argument in its message. */
export function argument<Value>(parse: (text: string) => Value): (text: string) => Value {
  return (text) => {
    try {
      return parse(text);
    } catch (error) {
      if (isArgumentError(error)) throw new InvalidArgumentError(error.message);
      throw error;
    }
  };
}

export const parseId = argument(parseBuildId);

/** The same for each of several. */
export function parseIds(text: string, previous: readonly string[] = []): string[] {
  return [...previous, parseId(text)];
}

export const parseSize = argument(parseByteSize);

export const parseCount = argument((text) => {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new TypeError('Wanted a whole number');
});

/** For commands that have the ext4 engine work on a disk. */
export function isolationOption(): Option {
  return new Option(
    '--isolation <where>',
    'run the ext4 engine in a confined process or not (default: by whether a guest ever had the disk)',
  ).choices(['process', 'none']);
}

/** Between the kernel and a process that serves a disk. */
export const parseConnections = argument((text) => {
  const count = parseCount(text);
  if (count >= 1 && count <= MAX_CONNECTIONS) return count;
  throw new RangeError(`Wanted 1 to ${MAX_CONNECTIONS} connections`);
});

/** How long something may take, in milliseconds, from a number of seconds. */
export const parseTimeout = argument((text) => {
  const seconds = parseCount(text);
  if (seconds >= 1 && seconds <= MAX_SECONDS) return seconds * 1000;
  throw new RangeError(`Wanted 1 to ${MAX_SECONDS} seconds`);
});

/** A file of a build's disk. */
export interface ImagePath {
  id: string;
  /** Absolute in the image. */
  path: string;
}

/** Reads `ID:PATH`; without a path it is the root. */
export const parseImagePath = argument((text): ImagePath => {
  const colon = text.indexOf(':');
  if (colon < 0) throw new TypeError(`"${text}" has no colon, wanted ID:PATH`);
  return { id: parseBuildId(text.slice(0, colon)), path: text.slice(colon + 1).replace(/^(?!\/)/, '/') };
});

/** Whether text reads as `ID:PATH` with the id of a build. */
export function isImagePath(text: string): boolean {
  try {
    parseImagePath(text);
    return true;
  } catch {
    return false;
  }
}

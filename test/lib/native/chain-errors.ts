import { expect } from 'vitest';
import type { RootloomErrorCode } from '../../../lib/errors.js';

/** Matches a RootloomError with that code, whose message contains `text`. */
export function rootloomError(code?: RootloomErrorCode, text = ''): Error {
  return expect.objectContaining({
    name: 'RootloomError',
    ...(code !== undefined && { code }),
    message: expect.stringContaining(text),
  });
}

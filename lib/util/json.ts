/** JSON from outside, checked against a schema in one step. */
import type { z } from 'zod';
import { RootloomError } from '../errors.js';

/**
 * Parses and checks.
 *
 * @param what The document, as it reads in an error: "the metadata of build …".
 * @returns What the schema makes of it.
 * @throws RootloomError CORRUPT for bytes that are not UTF-8 JSON or not of that schema; the first problem is named.
 */
export function parseJson<Schema extends z.ZodType>(
  bytes: Uint8Array,
  schema: Schema,
  what: string,
  path?: string,
): z.output<Schema> {
  const context = { operation: `read ${what}`, ...(path !== undefined && { path }) };
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new RootloomError('CORRUPT', `Cannot read ${what}: it is not JSON`, context, { cause });
  }
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const where = issue?.path.length ? `at ${issue.path.join('.')}: ` : '';
  const message = `Cannot read ${what}: ${where}${issue?.message ?? 'it does not fit its format'}`;
  throw new RootloomError('CORRUPT', message, context, { cause: result.error });
}

/** Digests of files, and of JSON values independent of how they were written down. */
import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import canonicalizeModule from 'canonicalize';
import { withSystemErrors } from './system-error.js';

export type DigestAlgorithm = 'sha256' | 'sha512';

/** What JSON can say. */
export type JsonValue =
  | null
  | boolean
  | number
  | string
  | readonly JsonValue[]
  | { readonly [key: string]: JsonValue };

export interface FileDigest {
  /** Lower-case hexadecimal. */
  hex: string;
  /** Bytes read. */
  size: number;
}

export interface DigestOptions {
  algorithm?: DigestAlgorithm;
  signal?: AbortSignal | undefined;
  /** Gets the number of bytes of each piece read. */
  onBytes?: ((bytes: number) => void) | undefined;
}

const PIECE_BYTES = 1 << 20;

/**
 * Reads a file to its end, piece by piece.
 *
 * Rejects with NOT_FOUND or IO of the path, or with `signal.reason`; the file is closed in any case.
 */
export async function digestFile(path: string, options: DigestOptions = {}): Promise<FileDigest> {
  const { algorithm = 'sha256', signal, onBytes } = options;
  return withSystemErrors('read', path, async () => {
    await using file = await open(path, 'r');
    const hash = createHash(algorithm);
    const piece = Buffer.allocUnsafe(PIECE_BYTES);
    let size = 0;
    for (;;) {
      signal?.throwIfAborted();
      const { bytesRead } = await file.read(piece, 0, piece.length, null);
      if (bytesRead === 0) return { hex: hash.digest('hex'), size };
      hash.update(piece.subarray(0, bytesRead));
      size += bytesRead;
      onBytes?.(bytesRead);
    }
  });
}

/** Lower-case hexadecimal digest of bytes or of text in UTF-8. */
export function digestBytes(data: Uint8Array | string, algorithm: DigestAlgorithm = 'sha256'): string {
  return createHash(algorithm).update(data).digest('hex');
}

// A CommonJS module whose types declare a default export that Node's loader unwraps already.
const canonicalize = canonicalizeModule as unknown as (value: JsonValue) => string | undefined;

/**
 * SHA-256, in lower-case hexadecimal, over the canonical form (RFC 8785) of a JSON value: equal values give equal digests
 * whatever the order of their keys, and different values differ (`["a b"]` is not `["a","b"]`).
 *
 * @throws TypeError for anything that JSON cannot say: such a value could not tell two inputs apart.
 */
export function digestJson(value: JsonValue): string {
  assertJson(value, 'value');
  return digestBytes(canonicalize(value) as string);
}

function assertJson(value: unknown, where: string): void {
  if (value === null || typeof value === 'boolean' || typeof value === 'string' || Number.isFinite(value))
    return;
  if (Array.isArray(value)) {
    for (const [index, item] of value.entries()) assertJson(item, `${where}[${index}]`);
    return;
  }
  const isPlain =
    typeof value === 'object' && [Object.prototype, null].includes(Object.getPrototypeOf(value));
  if (!isPlain) {
    throw new TypeError(
      `Cannot digest ${where}: ${typeof value} is not JSON, wanted null, boolean, finite number, text, list or plain object`,
    );
  }
  for (const [key, item] of Object.entries(value as object)) assertJson(item, `${where}.${key}`);
}

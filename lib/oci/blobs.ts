/** The blobs of an image layout. Nothing read from one is used before its size and digest are right. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { z } from 'zod';
import { RootloomError } from '../errors.js';
import { type DigestAlgorithm, digestBytes, digestFile } from '../util/digest.js';
import { parseJson } from '../util/json.js';
import { statIfThere } from '../util/lookup.js';
import { withSystemErrors } from '../util/system-error.js';
import type { Descriptor } from './schemas.js';

/** Manifests and configurations are some kilobytes; what is far above that is refused before it is read. */
export const MAX_DOCUMENT_BYTES = 16 << 20;

const HEX_LENGTHS: Record<DigestAlgorithm, number> = { sha256: 64, sha512: 128 };

export interface VerifyOptions {
  signal?: AbortSignal | undefined;
  /** Gets the number of bytes of each piece read. */
  onBytes?: ((bytes: number) => void) | undefined;
}

/** Splits a digest. Throws UNSUPPORTED for another algorithm than sha256 and sha512, CORRUPT for a wrong length. */
export function parseDigest(digest: string): { algorithm: DigestAlgorithm; hex: string } {
  const [algorithm = '', hex = ''] = digest.split(':', 2);
  if (algorithm !== 'sha256' && algorithm !== 'sha512') {
    throw new RootloomError(
      'UNSUPPORTED',
      `Cannot verify ${digest}: its algorithm is ${algorithm}, wanted sha256 or sha512`,
    );
  }
  if (/^[0-9a-f]+$/.test(hex) && hex.length === HEX_LENGTHS[algorithm]) return { algorithm, hex };
  const wanted = `${HEX_LENGTHS[algorithm]} lower-case hexadecimal digits`;
  throw new RootloomError(
    'CORRUPT',
    `Cannot verify ${digest}: it is no ${algorithm} digest, wanted ${wanted}`,
  );
}

export class BlobFolder {
  /** @param layout The image layout's folder. */
  constructor(private readonly layout: string) {}

  /**
   * Reads a JSON document whole.
   *
   * Rejects with CORRUPT when the blob is missing, has another size or digest than its descriptor says, or does not fit the
   * schema; UNSUPPORTED when it is absurdly large; IO.
   */
  async readDocument<Schema extends z.ZodType>(
    descriptor: Descriptor,
    schema: Schema,
    what: string,
  ): Promise<z.output<Schema>> {
    const { digest, size } = descriptor;
    if (size > MAX_DOCUMENT_BYTES) {
      const message = `Cannot read ${what} ${digest}: it has ${size} bytes, ${MAX_DOCUMENT_BYTES} are allowed`;
      throw new RootloomError('UNSUPPORTED', message);
    }
    const path = await this.locate(descriptor);
    const bytes = await withSystemErrors('read', path, () => readFile(path));
    const { algorithm, hex } = parseDigest(digest);
    requireEqual(path, digest, hex, digestBytes(bytes, algorithm));
    return parseJson(bytes, schema, `${what} ${digest}`, path);
  }

  /** Reads a blob to its end and compares. Rejects with CORRUPT naming blob, expected and actual; IO; `signal.reason`. */
  async verify(descriptor: Descriptor, options: VerifyOptions = {}): Promise<void> {
    const { algorithm, hex } = parseDigest(descriptor.digest);
    const path = await this.locate(descriptor);
    const actual = await digestFile(path, { algorithm, ...options });
    requireEqual(path, descriptor.digest, hex, actual.hex);
  }

  /** The blob's file, which is there and has the right size. CORRUPT otherwise. */
  async locate({ digest, size }: Descriptor): Promise<string> {
    const { algorithm, hex } = parseDigest(digest);
    const path = join(this.layout, 'blobs', algorithm, hex);
    const found = await statIfThere(path);
    if (found?.isFile() && found.size === size) return path;
    const is = found === undefined ? 'missing' : found.isFile() ? `${found.size} bytes long` : 'not a file';
    throw new RootloomError('CORRUPT', `Cannot read the blob ${digest}: it is ${is}, wanted ${size} bytes`, {
      path,
    });
  }
}

function requireEqual(path: string, digest: string, expected: string, actual: string): void {
  if (actual === expected) return;
  const algorithm = digest.slice(0, digest.indexOf(':'));
  const message = `Cannot read the blob ${digest}: its content has the digest ${algorithm}:${actual}, wanted ${digest}`;
  throw new RootloomError('CORRUPT', message, { path });
}

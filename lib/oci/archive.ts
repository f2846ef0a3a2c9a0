/** Unpacks an image layout from a tar file: its blobs and its two documents, nothing else. */
import { once } from 'node:events';
import { createReadStream, createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { Parser, type ReadEntry } from 'tar';
import { RootloomError } from '../errors.js';
import { LinkedController } from '../util/abort.js';
import { makeFolder } from '../util/atomic-file.js';
import { statIfThere } from '../util/lookup.js';
import { type ProgressListener, ProgressMeter } from '../util/progress.js';
import { fromSystemError, isSystemError } from '../util/system-error.js';

/** A name in the archive is only ever compared with this, so no name can lead anywhere else. */
const WANTED = /^(?:\.\/)?(oci-layout|index\.json|blobs\/(?:sha256\/[0-9a-f]{64}|sha512\/[0-9a-f]{128}))$/;

export interface UnpackOptions {
  signal?: AbortSignal | undefined;
  onProgress?: ProgressListener | undefined;
}

/**
 * Unpacks `file`, plain or compressed, into the folder `target`, which exists. The content is not verified here.
 *
 * Rejects with NOT_FOUND, CORRUPT (no tar, truncated, a wanted name that is no regular file or comes twice), UNSUPPORTED (an
 * archive of `docker save` without an image layout), NO_SPACE, IO, or `signal.reason`. What was unpacked stays in `target`.
 */
export async function unpackLayout(file: string, target: string, options: UnpackOptions = {}): Promise<void> {
  const { signal, onProgress } = options;
  const found = await statIfThere(file);
  if (!found?.isFile()) {
    const is = found === undefined ? 'it does not exist' : 'it is not a file';
    throw new RootloomError('NOT_FOUND', `Cannot open the image archive ${file}: ${is}, wanted a tar file`, {
      path: file,
    });
  }
  for (const folder of ['sha256', 'sha512']) await makeFolder(join(target, 'blobs', folder));
  const meter = new ProgressMeter('unpack', found.size, onProgress);
  using unpacker = new Unpacker(file, target, signal);
  try {
    await unpacker.run((bytes) => meter.add(bytes));
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof RootloomError) throw error;
    if (isSystemError(error)) throw fromSystemError(error, 'unpack', file);
    const reason = error instanceof Error ? error.message : String(error);
    const message = `Cannot unpack ${file}: ${reason}, wanted a whole tar file`;
    throw new RootloomError('CORRUPT', message, { path: file }, { cause: error });
  }
  unpacker.requireLayout();
}

/** Feeds the file to a parser piece by piece, waiting while the entry at hand is written out. */
class Unpacker implements Disposable {
  readonly #names = new Set<string>();
  readonly #writes: Promise<void>[] = [];
  /** Aborted with the first error of any part, or by the caller; ends all parts. */
  readonly #stop: LinkedController;
  readonly #parser = new Parser({ strict: true, maxDecompressionRatio: Number.POSITIVE_INFINITY });
  #hasDockerManifest = false;

  constructor(
    private readonly file: string,
    private readonly target: string,
    signal: AbortSignal | undefined,
  ) {
    this.#stop = new LinkedController(signal);
    this.#parser.on('error', (error) => this.#stop.abort(error));
    this.#parser.on('entry', (entry) => this.#take(entry));
  }

  [Symbol.dispose](): void {
    this.#stop[Symbol.dispose]();
  }

  async run(onBytes: (bytes: number) => void): Promise<void> {
    const { signal } = this.#stop;
    try {
      for await (const piece of createReadStream(this.file, { highWaterMark: 1 << 20 })) {
        signal.throwIfAborted();
        if (!this.#parser.write(piece)) await once(this.#parser, 'drain', { signal });
        onBytes(piece.length);
      }
      const ended = once(this.#parser, 'end', { signal });
      this.#parser.end();
      await ended;
      await Promise.all(this.#writes);
    } catch (error) {
      this.#stop.abort(error);
      await Promise.allSettled(this.#writes);
      throw signal.reason;
    }
  }

  requireLayout(): void {
    if (this.#names.has('oci-layout')) return;
    const path = this.file;
    if (this.#hasDockerManifest) {
      const message = `Cannot open the image archive ${path}: it is one of docker save, wanted an OCI image layout`;
      throw new RootloomError('UNSUPPORTED', message, { path });
    }
    throw new RootloomError(
      'NOT_FOUND',
      `Cannot open the image archive ${path}: it holds no OCI image layout`,
      { path },
    );
  }

  #take(entry: ReadEntry): void {
    if (entry.path === 'manifest.json') this.#hasDockerManifest = true;
    const name = WANTED.exec(entry.path)?.[1];
    const isRepeatedBlob = name?.startsWith('blobs/') && this.#names.has(name);
    if (name === undefined || isRepeatedBlob || entry.type === 'Directory') {
      entry.resume();
      return;
    }
    const isFile = FILE_TYPES.has(entry.type);
    if (!isFile || this.#names.has(name)) {
      const is = isFile ? 'comes twice' : `is a ${entry.type}`;
      const message = `Cannot unpack ${this.file}: ${name} ${is}, wanted one regular file`;
      this.#stop.abort(new RootloomError('CORRUPT', message, { path: this.file }));
      return;
    }
    this.#names.add(name);
    const output = createWriteStream(join(this.target, name), { flags: 'wx' });
    const write = pipeline(piecesOf(entry), output, { signal: this.#stop.signal });
    write.catch((error) => this.#stop.abort(error));
    this.#writes.push(write);
  }
}

const FILE_TYPES = new Set<string>(['File', 'OldFile', 'ContiguousFile']);

/** The parser's entries look like Node's streams but are none, so they are read through their iterator. */
async function* piecesOf(entry: ReadEntry): AsyncIterable<Buffer> {
  yield* entry;
}

/** Unpacks an image layout from a tar file: its blobs and its two documents, nothing else. */
import { once } from 'node:events';
import { createReadStream, createWriteStream } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { Parser, type ReadEntry } from 'tar';
import { RootloomError, type RootloomErrorCode } from '../errors.js';
import { LinkedController } from '../util/abort.js';
import { makeFolder } from '../util/atomic-file.js';
import { statIfThere } from '../util/lookup.js';
import { type ProgressListener, ProgressMeter } from '../util/progress.js';
import { fromSystemError, isSystemError, withSystemErrors } from '../util/system-error.js';
import { MAX_DOCUMENT_BYTES } from './blobs.js';

/** A name in the archive is only ever compared with this, so no name can lead anywhere else. */
const WANTED = /^(?:\.\/)?(oci-layout|index\.json|blobs\/(?:sha256\/[0-9a-f]{64}|sha512\/[0-9a-f]{128}))$/;

/**
 * How much an archive may hold, beside its own size. Layers are compressed already as a rule, so an archive of them is about as
 * large as what is in it; archives that hold far more than that are made to fill disks.
 */
const MAX_RATIO = 100;
const MIN_LIMIT_BYTES = 1 << 30;

/**
 * What the parser is given at once: it unpacks that in memory. No gzip stream reaches the ratio; denser formats, which could fill the
 * memory with a piece, end there.
 */
const PIECE_BYTES = 64 << 10;
const MAX_PIECE_RATIO = 1100;

const TAR_BLOCK_BYTES = 512;

export interface UnpackOptions {
  /** How long the tar may be when it is unpacked, in bytes. Default: 100 times the size of its file, and 1 GiB at least. */
  maxUnpackedBytes?: number | undefined;
  signal?: AbortSignal | undefined;
  onProgress?: ProgressListener | undefined;
}

/**
 * Unpacks `file`, plain or compressed, into the folder `target`, which exists. The content is not verified here. Files that belong to
 * no image layout are passed over: `docker save` and others put their own documents beside it.
 *
 * Rejects with NOT_FOUND, CORRUPT (no tar, truncated, a wanted name that is no regular file or comes twice), UNSUPPORTED (an
 * archive of `docker save` without an image layout, or one that holds more than it may), NO_SPACE (before anything is written, where
 * the archive says how long a file is), IO, or `signal.reason`. What was unpacked stays in `target`.
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
  const limits = {
    unpackedBytes: options.maxUnpackedBytes ?? Math.max(MAX_RATIO * found.size, MIN_LIMIT_BYTES),
    freeBytes: await readFreeBytes(target),
  };
  using unpacker = new Unpacker(file, target, limits, signal);
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

async function readFreeBytes(folder: string): Promise<number> {
  const { bavail, bsize } = await withSystemErrors('look at', folder, () => statfs(folder));
  return bavail * bsize;
}

/** Feeds the file to a parser piece by piece, waiting while the entry at hand is written out. */
class Unpacker implements Disposable {
  readonly #names = new Set<string>();
  readonly #writes: Promise<void>[] = [];
  /** Aborted with the first error of any part, or by the caller; ends all parts. */
  readonly #stop: LinkedController;
  readonly #parser = new Parser({ strict: true, maxDecompressionRatio: MAX_PIECE_RATIO });
  #hasDockerManifest = false;
  #unpackedBytes = 0;
  #writtenBytes = 0;

  constructor(
    private readonly file: string,
    private readonly target: string,
    private readonly limits: { unpackedBytes: number; freeBytes: number },
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
      for await (const piece of createReadStream(this.file, { highWaterMark: PIECE_BYTES })) {
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
    this.#unpackedBytes += TAR_BLOCK_BYTES + entry.size;
    if (this.#unpackedBytes > this.limits.unpackedBytes) {
      const wanted = `at most ${this.limits.unpackedBytes} are allowed, unpack it with tar and name the folder`;
      this.#refuse('UNSUPPORTED', `it holds ${this.#unpackedBytes} bytes or more, ${wanted}`);
      return;
    }
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
      this.#refuse('CORRUPT', `${name} ${is}, wanted one regular file`);
      return;
    }
    if (!name.startsWith('blobs/') && entry.size > MAX_DOCUMENT_BYTES) {
      this.#refuse('UNSUPPORTED', `${name} has ${entry.size} bytes, ${MAX_DOCUMENT_BYTES} are allowed`);
      return;
    }
    this.#writtenBytes += entry.size;
    if (this.#writtenBytes > this.limits.freeBytes) {
      const is = `${this.limits.freeBytes} bytes were free in ${this.target}`;
      this.#refuse('NO_SPACE', `${is}, ${this.#writtenBytes} or more are needed`);
      return;
    }
    this.#names.add(name);
    const output = createWriteStream(join(this.target, name), { flags: 'wx' });
    const write = pipeline(piecesOf(entry), output, { signal: this.#stop.signal });
    write.catch((error) => this.#stop.abort(error));
    this.#writes.push(write);
  }

  #refuse(code: RootloomErrorCode, why: string): void {
    const message = `Cannot unpack ${this.file}: ${why}`;
    this.#stop.abort(new RootloomError(code, message, { path: this.file }));
  }
}

const FILE_TYPES = new Set<string>(['File', 'OldFile', 'ContiguousFile']);

/** The parser's entries look like Node's streams but are none, so they are read through their iterator. */
async function* piecesOf(entry: ReadEntry): AsyncIterable<Buffer> {
  yield* entry;
}

/**
 * Files that are there whole and on disk, or not there at all.
 *
 * A write goes to a temporary neighbour, is synced, renamed over the name, and then the folder is synced: after a crash at any
 * moment a reader sees the old file or the new one, and when the call has resolved, the new one survives a power cut.
 */
import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { z } from 'zod';
import { raceAbort } from './abort.js';
import { parseJson } from './json.js';
import { isSystemError, withSystemErrors } from './system-error.js';

const PIECE_BYTES = 4 << 20;

/** Flushes a file's or folder's content to the disk. After an abort the system goes on flushing, unattended. */
export async function syncPath(path: string, signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted();
  await withSystemErrors('flush', path, () => raceAbort(syncAndClose(path), signal));
}

async function syncAndClose(path: string): Promise<void> {
  await using file = await open(path, constants.O_RDONLY);
  await file.sync();
}

/**
 * Creates a folder and its missing parents, each durable in the folder above it. Rejects with NOT_FOUND where none can be made,
 * IO, or NO_SPACE.
 *
 * @param mode Of each folder that is made.
 */
export async function makeFolder(path: string, mode = 0o777): Promise<void> {
  await withSystemErrors('create the folder', path, async () => {
    try {
      await makeInParent(path, mode);
    } catch (error) {
      const parent = dirname(path);
      if (!isSystemError(error, 'ENOENT') || parent === path) throw error;
      await makeFolder(parent, mode);
      // Once more, and no more: some parents are there and take no folders (/proc), where Node's own recursion never ends.
      await makeInParent(path, mode);
    }
  });
}

/** Does nothing when the folder is there. */
async function makeInParent(path: string, mode: number): Promise<void> {
  try {
    await mkdir(path, mode);
  } catch (error) {
    if (isSystemError(error, 'EEXIST') && (await stat(path)).isDirectory()) return;
    throw error;
  }
  await syncPath(dirname(path));
}

/** Replaces or creates a file with these bytes; see the head of this file. Needs room for both versions. */
export async function writeFileAtomically(
  path: string,
  data: Uint8Array | string,
  mode = 0o644,
): Promise<void> {
  const temporary = temporaryName(path);
  await withSystemErrors('write', path, async () => {
    try {
      {
        await using file = await open(temporary, 'wx', mode);
        await file.writeFile(data);
        await file.sync();
      }
      await rename(temporary, path);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
  });
  await syncPath(dirname(path));
}

/** Writes a value as JSON, for people with two spaces of indent. */
export async function writeJsonAtomically(path: string, value: unknown): Promise<void> {
  await writeFileAtomically(path, `${JSON.stringify(value, null, 2)}\n`);
}

/** Reads a JSON file: NOT_FOUND when it is not there, CORRUPT when it is not of that schema. */
export async function readJsonFile<Schema extends z.ZodType>(
  path: string,
  schema: Schema,
  what: string,
): Promise<z.output<Schema>> {
  const bytes = await withSystemErrors(`read ${what}`, path, () => readFile(path));
  return parseJson(bytes, schema, what, path);
}

export interface MoveOptions {
  signal?: AbortSignal | undefined;
  /** Gets the number of bytes of each piece copied; not called when a rename does it. */
  onBytes?: ((bytes: number) => void) | undefined;
}

/**
 * Moves a regular file, over an older one if need be: synced, then renamed, or copied when `target` is on another filesystem. Sync
 * the folder of `target` afterwards to make the new name durable. On failure or abort the source is as it was.
 */
export async function moveFile(source: string, target: string, options: MoveOptions = {}): Promise<void> {
  await syncPath(source, options.signal);
  await withSystemErrors(`move ${source} to`, target, async () => {
    try {
      await rename(source, target);
    } catch (error) {
      if (!isSystemError(error, 'EXDEV')) throw error;
      await copyFile(source, target, options);
      await rm(source);
    }
  });
}

async function copyFile(source: string, target: string, { signal, onBytes }: MoveOptions): Promise<void> {
  const temporary = temporaryName(target);
  try {
    {
      await using input = await open(source, 'r');
      await using output = await open(temporary, 'wx', 0o644);
      await copyBytes(input, output, signal, onBytes);
      await raceAbort(output.sync(), signal);
    }
    await rename(temporary, target);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

async function copyBytes(
  input: FileHandle,
  output: FileHandle,
  signal: AbortSignal | undefined,
  onBytes: ((bytes: number) => void) | undefined,
): Promise<void> {
  const piece = Buffer.allocUnsafe(PIECE_BYTES);
  for (;;) {
    signal?.throwIfAborted();
    const { bytesRead } = await input.read(piece, 0, piece.length, null);
    if (bytesRead === 0) return;
    await output.writeFile(piece.subarray(0, bytesRead));
    onBytes?.(bytesRead);
  }
}

/** Beside the file, so that the rename stays inside one filesystem. */
function temporaryName(path: string): string {
  return join(dirname(path), `.${basename(path)}.${randomUUID()}`);
}

/** Run directories: the sockets and the memory of one virtual machine, gone with it. */
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { RootloomError } from '../errors.js';
import type { OwnedFolder } from '../util/owned-folder.js';
import { withSystemErrors } from '../util/system-error.js';
import { makeWorkFolder } from './work-area.js';

/** Without this file in it the keeper removes nothing (kRunDirMarker in native/keeper/run_dir.h). */
const MARKER_FILE = 'rootloom-run-dir';

/** Linux takes 107 bytes for a socket's path; some servers need a few for themselves. */
const MAX_SOCKET_PATH_BYTES = 100;

/** The longest name that `file` is meant for. */
const MAX_NAME_BYTES = 16;

/**
 * A folder for one virtual machine, only for its user. It is removed by whoever comes first: its owner, the machine's keeper
 * once the owner is gone, or the next process that makes one.
 */
export class RunDir implements AsyncDisposable {
  private constructor(private readonly folder: OwnedFolder) {}

  /** Rejects with INVALID_ARGUMENT when sockets in `area` would have too long a path, IO, NO_SPACE, or `signal.reason`. */
  static async create({
    area,
    signal,
  }: {
    area?: string | undefined;
    signal?: AbortSignal | undefined;
  } = {}): Promise<RunDir> {
    const folder = await makeWorkFolder({ area }, signal);
    try {
      if (Buffer.byteLength(folder.path) + 1 + MAX_NAME_BYTES > MAX_SOCKET_PATH_BYTES) {
        const message = `Cannot make a run directory in ${path.dirname(folder.path)}: the path is too long for sockets, set TMPDIR to a shorter one`;
        throw new RootloomError('INVALID_ARGUMENT', message, { path: folder.path });
      }
      const marker = path.join(folder.path, MARKER_FILE);
      await withSystemErrors('write', marker, () => writeFile(marker, '', { flag: 'wx' }));
      return new RunDir(folder);
    } catch (error) {
      await folder.remove();
      throw error;
    }
  }

  /** Absolute. */
  get path(): string {
    return this.folder.path;
  }

  /** The path of a file or socket in it; names of up to 16 bytes give paths that sockets can have. */
  file(name: string): string {
    return path.join(this.path, name);
  }

  /** Removes it with all it holds; idempotent, and no error when it is gone already. */
  remove(): Promise<void> {
    return this.folder.remove();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.remove();
  }
}

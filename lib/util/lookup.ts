/** Looking at what may not be there: a missing thing is a value, everything else an IO error. */
import type { Stats } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { fromSystemError, isSystemError } from './system-error.js';

/** Follows symbolic links. */
export async function statIfThere(path: string): Promise<Stats | undefined> {
  try {
    return await stat(path);
  } catch (error) {
    if (isSystemError(error, 'ENOENT', 'ENOTDIR')) return undefined;
    throw fromSystemError(error, 'look at', path);
  }
}

/** The names in a folder; a folder that is not there has none. */
export async function listIfThere(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return [];
    throw fromSystemError(error, 'list', folder);
  }
}

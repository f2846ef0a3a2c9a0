/**
 * The library as it is shipped: compiled into dist/. Each run of the tests sees to it first that it is up to date; what runs
 * as a process of its own, or in a slow kernel, then starts without compiling anything.
 */
import { mkdir, readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { withFileLock } from '../../lib/util/file-lock.js';
import { statIfThere } from '../../lib/util/lookup.js';

export const PROJECT = fileURLToPath(new URL('../..', import.meta.url));
export const CLI_FILE = path.join(PROJECT, 'dist/cli/main.js');

async function newestSourceTime(): Promise<number> {
  const entries = await readdir(path.join(PROJECT, 'lib'), { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  const stats = await Promise.all(files.map(({ parentPath, name }) => stat(path.join(parentPath, name))));
  return Math.max(...stats.map(({ mtimeMs }) => mtimeMs));
}

async function isUpToDate(): Promise<boolean> {
  const builtAt = (await statIfThere(CLI_FILE))?.mtimeMs ?? 0;
  return builtAt > (await newestSourceTime());
}

/** Compiles lib/ into dist/ when something has changed since. */
export async function compileLibrary(): Promise<void> {
  if (await isUpToDate()) return; // Where the project cannot be written to, this is as it must be.
  await mkdir(path.join(PROJECT, 'build'), { recursive: true });
  await withFileLock(path.join(PROJECT, 'build/dist-lock'), undefined, async () => {
    if (!(await isUpToDate())) await execa('bash', [path.join(PROJECT, 'scripts/build-library')]);
  });
}

/** As vitest calls a file of `globalSetup`. */
export const setup = compileLibrary;

/**
 * This package's own files. The command is one file in dist/cli (scripts/build-library), so all that finds a file by where it
 * itself is does so here, from a folder two below the root.
 */
import { createRequire } from 'node:module';

export const PACKAGE_ROOT = new URL('../..', import.meta.url);

/** The library's code: lib/, or dist/ with what is compiled and the assets. */
export const CODE_ROOT = new URL('..', import.meta.url);

export const { version: packageVersion } = createRequire(PACKAGE_ROOT)('./package.json') as {
  version: string;
};

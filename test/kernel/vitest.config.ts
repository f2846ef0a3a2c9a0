/**
 * The tests that need a kernel with an nbd driver. `npm test` runs each file in a User-Mode Linux of its own
 * (scripts/check/kernel-stage.ts); where this very kernel has the driver, root can run them directly, too.
 *
 * They have the compiled library: in the slow kernel, compiling took longer than most of the tests.
 */
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const PROJECT = fileURLToPath(new URL('../..', import.meta.url));
const SOURCE = path.join(PROJECT, 'lib/');

export default defineConfig({
  plugins: [
    {
      name: 'compiled-library',
      enforce: 'pre',
      resolveId(target: string, importer: string | undefined) {
        if (!target.startsWith('.') || importer === undefined) return undefined;
        const file = path.resolve(path.dirname(importer), target);
        return file.startsWith(SOURCE) ? path.join(PROJECT, 'dist', file.slice(SOURCE.length)) : undefined;
      },
    },
  ],
  test: {
    include: ['test/kernel/**/*.test.ts'],
    globalSetup: 'test/helpers/compiled-library.ts',
    server: { deps: { external: [/\/dist\//] } },
    pool: 'forks',
    fileParallelism: false, // They share the kernel's devices.
    testTimeout: 240_000,
    hookTimeout: 120_000,
    reporters: ['default'],
  },
});

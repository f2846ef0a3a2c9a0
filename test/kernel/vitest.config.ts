/**
 * The tests that need a kernel with an nbd driver. `npm test` runs each file in a User-Mode Linux of its own
 * (scripts/check/kernel-stage.ts); where this very kernel has the driver, root can run them directly, too.
 *
 * They have the compiled library: in the slow kernel, compiling took longer than most of the tests.
 */
import { defineConfig } from 'vitest/config';

export default defineConfig({
  resolve: {
    alias: [{ find: /^(\.\.\/)+lib\//, replacement: new URL('../../dist/', import.meta.url).pathname }],
  },
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

/**
 * The tests that need a kernel with an nbd driver. `npm test` runs each file in a User-Mode Linux of its own
 * (scripts/check/kernel-stage.ts); where this very kernel has the driver, root can run them directly, too.
 */
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/kernel/**/*.test.ts'],
    pool: 'forks',
    fileParallelism: false, // They share the kernel's devices.
    testTimeout: 240_000,
    hookTimeout: 120_000,
    reporters: ['default'],
  },
});

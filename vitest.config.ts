import { availableParallelism } from 'node:os';
import { configDefaults, defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    exclude: [...configDefaults.exclude, 'test/kernel/**'], // They have a configuration and a stage of their own.
    globalSetup: 'test/helpers/compiled-library.ts',
    maxWorkers: availableParallelism(), // Of two processors vitest would leave one idle.
    pool: 'forks', // Each file in a process of its own: native threads and exit paths are part of what is tested.
    testTimeout: 60_000,
    hookTimeout: 120_000,
    reporters: ['default'],
  },
});

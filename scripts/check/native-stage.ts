/** The GoogleTest programs, built by CMake and run by ctest, plain or under sanitizers. */
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { type Outcome, runCommand, type Stage } from './stage.js';

interface NativeStageOptions {
  name: string;
  buildFolder: string;
  /** As -fsanitize takes it; empty for a plain build. */
  sanitizers: string;
}

function countCases(folder: string): Outcome {
  const outcome = { passed: 0, failed: 0 };
  for (const file of readdirSync(folder)) {
    const report = JSON.parse(readFileSync(path.join(folder, file), 'utf8')) as {
      tests: number;
      failures: number;
    };
    outcome.failed += report.failures;
    outcome.passed += report.tests - report.failures;
  }
  return outcome;
}

export function nativeStage({ name, buildFolder, sanitizers }: NativeStageOptions): Stage {
  const reports = path.resolve(buildFolder, 'reports');
  return {
    name,
    async run() {
      const configure = [
        '-S',
        '.',
        '-B',
        buildFolder,
        '-G',
        'Ninja',
        '-DROOTLOOM_ADDON=OFF',
        '-DROOTLOOM_TESTS=ON',
      ];
      if (
        (await runCommand('cmake', [
          ...configure,
          '--log-level=WARNING',
          `-DROOTLOOM_SANITIZE=${sanitizers}`,
        ])) !== 0
      ) {
        return { passed: 0, failed: 1 };
      }
      if ((await runCommand('cmake', ['--build', buildFolder])) !== 0) return { passed: 0, failed: 1 };
      rmSync(reports, { recursive: true, force: true });
      mkdirSync(reports, { recursive: true });
      const code = await runCommand(
        'ctest',
        ['--test-dir', buildFolder, '--output-on-failure', '--no-tests=error', '--timeout', '900', '-j', '2'],
        { GTEST_OUTPUT: `json:${reports}/`, UBSAN_OPTIONS: 'print_stacktrace=1' },
      );
      const outcome = countCases(reports);
      // A program that crashed wrote no report: it counts as one failure at least.
      if (code !== 0 && outcome.failed === 0) outcome.failed = 1;
      return outcome;
    },
  };
}

/** The vitest suites, counted from vitest's own report. */
import { readFileSync, rmSync } from 'node:fs';
import { runCommand, type Stage } from './stage.js';

const REPORT = 'build/vitest.json';

interface VitestReport {
  numPassedTests: number;
  numFailedTests: number;
  numPendingTests: number;
  numFailedTestSuites: number;
}

export function vitestStage(): Stage {
  return {
    name: 'library tests',
    async run() {
      rmSync(REPORT, { force: true });
      const code = await runCommand('npx', [
        ...['vitest', 'run', '--reporter=default', '--reporter=json', `--outputFile.json=${REPORT}`],
      ]);
      const report = JSON.parse(readFileSync(REPORT, 'utf8')) as VitestReport;
      // A skipped test and a file that could not be loaded count as failures: nothing may be left out silently.
      const failed = Math.max(
        report.numFailedTests + report.numPendingTests,
        report.numFailedTestSuites > 0 ? 1 : 0,
      );
      return { passed: report.numPassedTests, failed: code !== 0 && failed === 0 ? 1 : failed };
    },
  };
}

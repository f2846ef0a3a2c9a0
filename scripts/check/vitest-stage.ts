/** The vitest suites, counted from vitest's own report. */
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { failure, runCommand, type Stage, sumOutcomes } from './stage.js';
import { countVitest } from './test-reports.js';

const REPORT = 'build/vitest.json';

export function vitestStage(): Stage {
  return {
    name: 'library tests',
    async run() {
      rmSync(REPORT, { force: true });
      const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${REPORT}`];
      const code = await runCommand('npx', ['vitest', 'run', ...reporters]);
      const outcome = countVitest(existsSync(REPORT) ? readFileSync(REPORT, 'utf8') : undefined);
      // An error outside of all tests is in no report, only in the exit status.
      return code !== 0 && outcome.failures.length === 0
        ? sumOutcomes([outcome, failure(`vitest's exit status is ${code}`)])
        : outcome;
    },
  };
}

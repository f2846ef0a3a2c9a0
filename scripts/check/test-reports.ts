/** Counts what test runners report. Whatever did not run to its end and pass is a failure: nothing is left out silently. */
import { FAILED, type Outcome, sumOutcomes } from './stage.js';

/** One test program, as ctest saw it. */
export interface CtestProgram {
  name: string;
  hasPassed: boolean;
}

/** Reads the summary that `ctest --output-junit` writes. */
export function readCtestPrograms(xml: string): CtestProgram[] {
  return [...xml.matchAll(/<testcase\s([^>]*)>/g)].map(([, attributes = '']) => ({
    name: /\bname="([^"]*)"/.exec(attributes)?.[1] ?? '',
    hasPassed: /\bstatus="run"/.test(attributes),
  }));
}

interface GoogleTestReport {
  testsuites: readonly {
    testsuite: readonly { status: string; result: string; failures?: readonly unknown[] }[];
  }[];
}

/**
 * Counts the cases of one GoogleTest program from the JSON that it wrote. One that passed all of its cases and ended badly
 * nevertheless (a sanitizer's finding at exit), and one that wrote nothing (a crash), has one failure more.
 */
export function countGoogleTest({ hasPassed }: CtestProgram, json: string | undefined): Outcome {
  if (json === undefined || json === '') return FAILED;
  const cases = (JSON.parse(json) as GoogleTestReport).testsuites.flatMap(({ testsuite }) => testsuite);
  const passed = cases.filter(
    ({ status, result, failures = [] }) =>
      status === 'RUN' && result === 'COMPLETED' && failures.length === 0,
  ).length;
  const outcome = { passed, failed: cases.length - passed };
  return hasPassed || outcome.failed > 0 ? outcome : sumOutcomes([outcome, FAILED]);
}

interface VitestReport {
  success: boolean;
  testResults: readonly {
    status: string;
    assertionResults: readonly { status: string }[];
  }[];
}

/** Counts vitest's JSON report: cases, and files that failed outside of their cases, e.g. because they cannot be loaded. */
export function countVitest(json: string | undefined): Outcome {
  if (json === undefined || json === '') return FAILED;
  const { success, testResults } = JSON.parse(json) as VitestReport;
  const outcome = sumOutcomes(
    testResults.map(({ status, assertionResults }) => {
      const passed = assertionResults.filter((result) => result.status === 'passed').length;
      const failed = assertionResults.length - passed;
      return { passed, failed: status !== 'passed' && failed === 0 ? 1 : failed };
    }),
  );
  return success || outcome.failed > 0 ? outcome : sumOutcomes([outcome, FAILED]);
}

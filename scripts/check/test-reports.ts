/** Counts what test runners report. Whatever did not run to its end and pass is a failure: nothing is left out silently. */
import path from 'node:path';
import { failure, type Outcome, sumOutcomes } from './stage.js';

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
    testsuite: readonly {
      classname: string;
      name: string;
      status: string;
      result: string;
      failures?: readonly unknown[];
    }[];
  }[];
}

/**
 * Counts the cases of one GoogleTest program from the JSON that it wrote. One that passed all of its cases and ended badly
 * nevertheless (a sanitizer's finding at exit), and one that wrote nothing (a crash), has one failure more.
 */
export function countGoogleTest({ name, hasPassed }: CtestProgram, json: string | undefined): Outcome {
  if (json === undefined || json === '') return failure(`${name}: left no report`);
  const cases = (JSON.parse(json) as GoogleTestReport).testsuites.flatMap(({ testsuite }) => testsuite);
  const failed = cases.filter(
    ({ status, result, failures = [] }) => status !== 'RUN' || result !== 'COMPLETED' || failures.length > 0,
  );
  const outcome = {
    passed: cases.length - failed.length,
    failures: failed.map((each) => `${name}: ${each.classname}.${each.name}`),
  };
  return hasPassed || failed.length > 0 ? outcome : sumOutcomes([outcome, failure(`${name}: ended badly`)]);
}

interface VitestReport {
  success: boolean;
  testResults: readonly {
    name: string;
    status: string;
    assertionResults: readonly { fullName: string; status: string }[];
  }[];
}

/** Counts vitest's JSON report: cases, and files that failed outside of their cases, e.g. because they cannot be loaded. */
export function countVitest(json: string | undefined): Outcome {
  if (json === undefined || json === '') return failure('vitest left no report');
  const { success, testResults } = JSON.parse(json) as VitestReport;
  const outcome = sumOutcomes(
    testResults.map(({ name, status, assertionResults }) => {
      const file = path.relative('.', name);
      const failed = assertionResults.filter((result) => result.status !== 'passed');
      const failures = failed.map(({ fullName }) => `${file}: ${fullName}`);
      if (status !== 'passed' && failures.length === 0) failures.push(file);
      return { passed: assertionResults.length - failed.length, failures };
    }),
  );
  return success || outcome.failures.length > 0
    ? outcome
    : sumOutcomes([outcome, failure('vitest, outside of its tests')]);
}

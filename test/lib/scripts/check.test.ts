/** What the gate counts: everything that did not run to its end and pass is a failure. */
import { describe, expect, it } from 'vitest';
import { countGoogleTest, countVitest, readCtestPrograms } from '../../../scripts/check/test-reports.js';

const COMPLETED = { status: 'RUN', result: 'COMPLETED' };

function googleTest(...cases: object[]): string {
  return JSON.stringify({ testsuites: [{ testsuite: cases }] });
}

describe('readCtestPrograms', () => {
  it('reads which programs passed', () => {
    const xml = `<testsuite name="(empty)" tests="3">
      <testcase name="a_test" classname="a_test" time="0.1" status="run"><system-out>status="fail"</system-out></testcase>
      <testcase name="b_test" classname="b_test" time="0.1" status="fail"><failure message=""/></testcase>
      <testcase name="c_test" classname="c_test" time="0" status="notrun"/></testsuite>`;
    expect(readCtestPrograms(xml)).toEqual([
      { name: 'a_test', hasPassed: true },
      { name: 'b_test', hasPassed: false },
      { name: 'c_test', hasPassed: false },
    ]);
  });
});

describe('countGoogleTest', () => {
  const passing = { name: 'a_test', hasPassed: true };
  const failing = { name: 'a_test', hasPassed: false };

  it('counts cases', () => {
    const json = googleTest(COMPLETED, { ...COMPLETED, failures: [{}] }, COMPLETED);
    expect(countGoogleTest(failing, json)).toEqual({ passed: 2, failed: 1 });
  });

  it.each([
    ['skipped', { status: 'RUN', result: 'SKIPPED' }],
    ['disabled', { status: 'NOTRUN', result: 'SUPPRESSED' }],
  ])('counts a %s case as failed', (_what, testCase) => {
    expect(countGoogleTest(passing, googleTest(COMPLETED, testCase))).toEqual({ passed: 1, failed: 1 });
  });

  it('counts a program that crashed, and one whose end was bad', () => {
    expect(countGoogleTest(failing, undefined)).toEqual({ passed: 0, failed: 1 });
    expect(countGoogleTest(failing, googleTest(COMPLETED))).toEqual({ passed: 1, failed: 1 });
  });
});

describe('countVitest', () => {
  const file = (status: string, ...cases: string[]) => ({
    status,
    assertionResults: cases.map((result) => ({ status: result })),
  });
  const count = (success: boolean, ...testResults: object[]) =>
    countVitest(JSON.stringify({ success, testResults }));

  it('counts cases, those that did not run as failed', () => {
    const results = [
      file('passed', 'passed', 'skipped', 'todo'),
      file('failed', 'passed', 'failed', 'pending'),
    ];
    expect(count(false, ...results)).toEqual({ passed: 2, failed: 4 });
  });

  it('counts a file that could not be loaded, and a run that failed outside of its tests', () => {
    expect(count(false, file('passed', 'passed'), file('failed'))).toEqual({ passed: 1, failed: 1 });
    expect(count(false, file('passed', 'passed'))).toEqual({ passed: 1, failed: 1 });
    expect(countVitest(undefined)).toEqual({ passed: 0, failed: 1 });
  });
});

/** What the gate counts: everything that did not run to its end and pass is a failure. */
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { countGoogleTest, countVitest, readCtestPrograms } from '../../../scripts/check/test-reports.js';

const COMPLETED = { classname: 'Suite', name: 'works', status: 'RUN', result: 'COMPLETED' };
const FAILED = { ...COMPLETED, name: 'fails', failures: [{}] };

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
    const json = googleTest(COMPLETED, FAILED, COMPLETED);
    expect(countGoogleTest(failing, json)).toEqual({ passed: 2, failures: ['a_test: Suite.fails'] });
  });

  it.each([
    ['skipped', { status: 'RUN', result: 'SKIPPED' }],
    ['disabled', { status: 'NOTRUN', result: 'SUPPRESSED' }],
  ])('counts a %s case as failed', (_what, fate) => {
    expect(countGoogleTest(passing, googleTest(COMPLETED, { ...FAILED, ...fate, failures: [] }))).toEqual({
      passed: 1,
      failures: ['a_test: Suite.fails'],
    });
  });

  it('counts a program that crashed, and one whose end was bad', () => {
    expect(countGoogleTest(failing, undefined)).toEqual({ passed: 0, failures: ['a_test: left no report'] });
    const badEnd = countGoogleTest(failing, googleTest(COMPLETED));
    expect(badEnd).toEqual({ passed: 1, failures: ['a_test: ended badly'] });
  });
});

describe('countVitest', () => {
  const file = (status: string, ...cases: string[]) => ({
    name: path.resolve('test/a.test.ts'),
    status,
    assertionResults: cases.map((result) => ({ fullName: `is ${result}`, status: result })),
  });
  const count = (success: boolean, ...testResults: object[]) =>
    countVitest(JSON.stringify({ success, testResults }));

  it('counts cases, those that did not run as failed', () => {
    const results = [file('passed', 'passed', 'skipped', 'todo'), file('failed', 'passed', 'failed')];
    expect(count(false, ...results)).toEqual({
      passed: 2,
      failures: ['skipped', 'todo', 'failed'].map((fate) => `test/a.test.ts: is ${fate}`),
    });
  });

  it('counts a file that could not be loaded, and a run that failed outside of its tests', () => {
    const unloadable = count(false, file('passed', 'passed'), file('failed'));
    expect(unloadable).toEqual({ passed: 1, failures: ['test/a.test.ts'] });
    const badEnd = count(false, file('passed', 'passed'));
    expect(badEnd).toEqual({ passed: 1, failures: ['vitest, outside of its tests'] });
    expect(countVitest(undefined)).toEqual({ passed: 0, failures: ['vitest left no report'] });
  });
});

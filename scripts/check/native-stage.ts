/** The GoogleTest programs, built by CMake and run by ctest, plain or under sanitizers. */
import { readFileSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { buildPreset, CORES, failure, runCommand, type Stage, sumOutcomes } from './stage.js';
import { type CtestProgram, countGoogleTest, readCtestPrograms } from './test-reports.js';

const PROGRAM_SECONDS = 900;

interface NativeStageOptions {
  name: string;
  /** Of CMakePresets.json. */
  preset: string;
  /** The test programs to build and run; default all. */
  programs?: readonly string[] | undefined;
}

function readReport(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined; // A program that crashed wrote none.
  }
}

export function nativeStage({ name, preset, programs }: NativeStageOptions): Stage {
  const buildFolder = path.join('build', preset);
  const reports = path.resolve(buildFolder, 'reports');
  const summary = path.join(reports, 'ctest.xml');

  function outcomeOf(program: CtestProgram) {
    return countGoogleTest(program, readReport(path.join(reports, `${program.name}.json`)));
  }

  return {
    name,
    async run() {
      if (!(await buildPreset(preset, ...(programs ?? ['tests'])))) return failure(`the build of ${preset}`);
      await rm(reports, { recursive: true, force: true });
      await mkdir(reports, { recursive: true });
      const args = [
        '--test-dir',
        buildFolder,
        '--output-on-failure',
        '--no-tests=error',
        '--output-junit',
        summary,
        ...(programs === undefined ? [] : ['--tests-regex', `^(${programs.join('|')})$`]),
      ];
      const code = await runCommand('ctest', [...args, '--timeout', `${PROGRAM_SECONDS}`, '-j', `${CORES}`], {
        environment: { GTEST_OUTPUT: `json:${reports}/`, UBSAN_OPTIONS: 'print_stacktrace=1' },
      });
      const outcome = sumOutcomes(readCtestPrograms(readReport(summary) ?? '').map(outcomeOf));
      return code !== 0 && outcome.failures.length === 0
        ? sumOutcomes([outcome, failure(`ctest's exit status is ${code}`)])
        : outcome;
    },
  };
}

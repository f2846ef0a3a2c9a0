/** The libFuzzer programs, each for a while, all at once. */
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { buildPreset, failure, type Outcome, PASSED, runCommand, type Stage, sumOutcomes } from './stage.js';

/** Of CMakePresets.json. */
const PRESET = 'asan';
const BUILD_FOLDER = path.join('build', PRESET);
const PROGRAMS = path.join(BUILD_FOLDER, 'test/fuzz');

async function fuzz(program: string, seconds: number): Promise<Outcome> {
  const corpus = path.join(BUILD_FOLDER, 'corpus', program);
  mkdirSync(corpus, { recursive: true });
  const logFile = path.join(BUILD_FOLDER, `${program}.log`);
  const log = openSync(logFile, 'w');
  const limits = [`-max_total_time=${seconds}`, '-rss_limit_mb=1024', '-timeout=25'];
  const code = await runCommand(
    path.resolve(PROGRAMS, program),
    [corpus, ...limits, '-print_final_stats=1', '-verbosity=0', `-artifact_prefix=${corpus}-`],
    { output: log },
  );
  closeSync(log);
  const text = readFileSync(logFile, 'utf8');
  const runs = /number_of_executed_units:\s*(\d+)/.exec(text)?.[1] ?? 'an unknown number of';
  console.log(`${program}: ${runs} inputs${code === 0 ? '' : `, ended with status ${code}\n${text}`}`);
  return code === 0 ? PASSED : failure(program);
}

export function fuzzStage(seconds: number): Stage {
  return {
    name: `fuzz, ${seconds} s a target`,
    async run() {
      if (!(await buildPreset(PRESET, 'fuzzers'))) return failure(`the build of ${PRESET}`);
      const programs = readdirSync(PROGRAMS).filter((name) => name.endsWith('_fuzz'));
      const outcomes = await Promise.all(programs.map((program) => fuzz(program, seconds)));
      return outcomes.length === 0 ? failure('no fuzz target was found') : sumOutcomes(outcomes);
    },
  };
}

/** The libFuzzer programs, each for a short while; `npm run fuzz -- SECONDS` runs them longer. */
import { mkdirSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { type Outcome, runCommand, type Stage } from './stage.js';

const BUILD_FOLDER = 'build/fuzz';

export function fuzzStage(seconds: number): Stage {
  return {
    name: `fuzz, ${seconds} s a target`,
    async run() {
      const configured = await runCommand('cmake', [
        ...['-S', '.', '-B', BUILD_FOLDER, '-G', 'Ninja', '--log-level=WARNING'],
        ...['-DCMAKE_C_COMPILER=clang', '-DCMAKE_CXX_COMPILER=clang++'],
        ...['-DROOTLOOM_ADDON=OFF', '-DROOTLOOM_FUZZ=ON', '-DROOTLOOM_SANITIZE=address,undefined'],
      ]);
      if (
        configured !== 0 ||
        (await runCommand('cmake', ['--build', BUILD_FOLDER, '--target', 'fuzzers'])) !== 0
      ) {
        return { passed: 0, failed: 1 };
      }
      const outcome: Outcome = { passed: 0, failed: 0 };
      for (const program of readdirSync(path.join(BUILD_FOLDER, 'test/fuzz')).filter((name) =>
        name.endsWith('_fuzz'),
      )) {
        const corpus = path.join(BUILD_FOLDER, 'corpus', program);
        mkdirSync(corpus, { recursive: true });
        const code = await runCommand(path.join(BUILD_FOLDER, 'test/fuzz', program), [
          ...[
            corpus,
            `-max_total_time=${seconds}`,
            '-rss_limit_mb=1024',
            '-print_final_stats=0',
            '-verbosity=0',
          ],
          `-artifact_prefix=${corpus}-`,
        ]);
        outcome[code === 0 ? 'passed' : 'failed'] += 1;
      }
      return outcome;
    },
  };
}

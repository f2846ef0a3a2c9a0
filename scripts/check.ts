/**
 * Runs every check and every test, stage by stage, and ends with `N passed, N failed`.
 *
 *   tsx scripts/check.ts [STAGE …]     all stages, or those whose key is named
 */
import { fuzzStage } from './check/fuzz-stage.js';
import { kernelStage } from './check/kernel-stage.js';
import { nativeStage } from './check/native-stage.js';
import { checkStage, childrenSeconds, type Outcome, type Stage, sumOutcomes } from './check/stage.js';
import { vitestStage } from './check/vitest-stage.js';

/** Biome would colour a log file, too. */
const COLORS = `--colors=${process.stdout.isTTY ? 'force' : 'off'}`;
const FUZZ_SECONDS = Number(process.env.ROOTLOOM_FUZZ_SECONDS ?? 60);

const STAGES: Record<string, Stage> = {
  format: checkStage('C++ format', 'bash', ['scripts/clang-format']),
  shell: checkStage('shell scripts', 'bash', ['scripts/shellcheck']),
  lint: checkStage('TypeScript format and lint', 'npx', ['biome', 'ci', '--error-on-warnings', COLORS]),
  types: checkStage('types', 'npx', ['tsc', '-p', 'tsconfig.json']),
  tidy: checkStage('tidy', 'npx', ['tsx', 'scripts/tidy.ts']),
  asan: nativeStage({ name: 'native tests under ASan and UBSan', preset: 'asan' }),
  // What many threads go through at once.
  tsan: nativeStage({
    name: 'multi-connection tests under TSan',
    preset: 'tsan',
    programs: [
      'nbd_context_test',
      'nbd_linearizability_test',
      'nbd_row_test',
      'nbd_server_test',
      'nbd_stress_test',
      'nbd_transmission_test',
      'nbd_worker_pool_test',
    ],
  }),
  fuzz: fuzzStage(FUZZ_SECONDS),
  lib: vitestStage(),
  kernel: kernelStage(),
  // That every benchmark still runs beside its peers; figures are taken by hand, on a quiet machine.
  bench: checkStage('benchmarks, quick', 'npx', ['tsx', 'benchmarks/main.ts', '--quick']),
};

const wanted = process.argv.slice(2);
const unknown = wanted.filter((key) => !(key in STAGES));
if (unknown.length > 0) {
  console.error(`Cannot run ${unknown.join(', ')}: the stages are ${Object.keys(STAGES).join(', ')}`);
  process.exit(2);
}

const outcomes: Outcome[] = [];
const lines: string[] = [];
for (const [key, stage] of Object.entries(STAGES)) {
  if (wanted.length > 0 && !wanted.includes(key)) continue;
  console.log(`\n==> ${stage.name}`);
  const started = Date.now();
  const startedAtProcessor = childrenSeconds();
  const outcome = await stage.run();
  const seconds = ((Date.now() - started) / 1000).toFixed(0);
  const processorSeconds = (childrenSeconds() - startedAtProcessor).toFixed(0);
  outcomes.push(outcome);
  lines.push(
    `${stage.name}: ${outcome.passed} passed, ${outcome.failures.length} failed, ${seconds} s (${processorSeconds} s of processor time)`,
  );
}
const { passed, failures } = sumOutcomes(outcomes);
console.log(`\n${lines.join('\n')}`);
for (const failure of failures) console.log(`failed: ${failure.split('\n', 1)[0]}`);
console.log(`${passed} passed, ${failures.length} failed`);
process.exitCode = failures.length === 0 ? 0 : 1;

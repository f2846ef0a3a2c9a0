/**
 * Runs every check and every test, stage by stage, and ends with `N passed, N failed`.
 *
 *   tsx scripts/check.ts [STAGE …]     all stages, or those whose key is named
 */
import { fuzzStage } from './check/fuzz-stage.js';
import { nativeStage } from './check/native-stage.js';
import { checkStage, type Outcome, type Stage } from './check/stage.js';
import { vitestStage } from './check/vitest-stage.js';

const FUZZ_SECONDS = Number(process.env.ROOTLOOM_FUZZ_SECONDS ?? 60);

const STAGES: Record<string, Stage> = {
  format: checkStage('C++ format', 'bash', ['scripts/clang-format']),
  lint: checkStage('TypeScript format and lint', 'npx', ['biome', 'ci', '--error-on-warnings']),
  types: checkStage('types', 'npx', ['tsc', '-p', 'tsconfig.json']),
  tidy: checkStage('tidy', 'npx', ['tsx', 'scripts/tidy.ts']),
  native: nativeStage({ name: 'native tests', buildFolder: 'build/tests', sanitizers: '' }),
  asan: nativeStage({
    name: 'native tests under ASan and UBSan',
    buildFolder: 'build/tests-asan',
    sanitizers: 'address,undefined',
  }),
  fuzz: fuzzStage(FUZZ_SECONDS),
  lib: vitestStage(),
};

const wanted = process.argv.slice(2);
const unknown = wanted.filter((key) => !(key in STAGES));
if (unknown.length > 0) {
  console.error(`Cannot run ${unknown.join(', ')}: the stages are ${Object.keys(STAGES).join(', ')}`);
  process.exit(2);
}

const total: Outcome = { passed: 0, failed: 0 };
const lines: string[] = [];
for (const [key, stage] of Object.entries(STAGES)) {
  if (wanted.length > 0 && !wanted.includes(key)) continue;
  console.log(`\n==> ${stage.name}`);
  const started = Date.now();
  const { passed, failed } = await stage.run();
  total.passed += passed;
  total.failed += failed;
  lines.push(
    `${stage.name}: ${passed} passed, ${failed} failed, ${((Date.now() - started) / 1000).toFixed(0)} s`,
  );
}
console.log(`\n${lines.join('\n')}\n${total.passed} passed, ${total.failed} failed`);
process.exitCode = total.failed === 0 ? 0 : 1;

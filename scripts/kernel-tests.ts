/**
 * Runs tests of test/kernel.
 *
 *   tsx scripts/kernel-tests.ts [PART …]    the files whose path contains a PART; default all
 */
import { kernelStage } from './check/kernel-stage.js';

const { passed, failures } = await kernelStage(process.argv.slice(2)).run();
console.log(`${passed} passed, ${failures.length} failed`);
process.exitCode = failures.length === 0 ? 0 : 1;

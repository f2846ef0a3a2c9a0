/**
 * Runs tests of test/kernel.
 *
 *   tsx scripts/kernel-tests.ts [PART …]    the files whose path contains a PART; default all
 */
import { kernelStage } from './check/kernel-stage.js';

const { passed, failed } = await kernelStage(process.argv.slice(2)).run();
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;

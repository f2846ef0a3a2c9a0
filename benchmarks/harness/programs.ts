/** The native programs of the benchmarks: the lean client, the echo, and what measures native rooms from inside. */
import path from 'node:path';
import { buildWithCMake } from '../../scripts/check/stage.js';

const BUILD_FOLDER = 'build/cmake'; // The addon's own, so that no room is compiled twice.

/** Where they are, once built. */
export const PROGRAMS = path.resolve(BUILD_FOLDER, 'benchmarks/native');

/** Builds what is not built yet. */
export async function buildPrograms(): Promise<void> {
  if (!(await buildWithCMake(BUILD_FOLDER, ['-DROOTLOOM_BENCHMARKS=ON'], 'bench_programs'))) {
    throw new Error('The programs of the benchmarks cannot be built');
  }
}

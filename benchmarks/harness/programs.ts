/** The native programs of the benchmarks: the lean client, the echo, and what measures native rooms from inside. */
import path from 'node:path';
import { runCommand } from '../../scripts/check/stage.js';

const BUILD_FOLDER = 'build/cmake'; // The addon's own, so that no room is compiled twice.

/** Where they are, once built. */
export const PROGRAMS = path.resolve(BUILD_FOLDER, 'benchmarks/native');

let built: Promise<void> | undefined;

/** Builds what is not built yet, once for all who ask. */
export function buildPrograms(): Promise<void> {
  built ??= build();
  return built;
}

async function build(): Promise<void> {
  const configure = ['-S', '.', '-B', BUILD_FOLDER, '--log-level=WARNING', '-DROOTLOOM_BENCHMARKS=ON'];
  const isBuilt =
    (await runCommand('cmake', configure)) === 0 &&
    (await runCommand('cmake', ['--build', BUILD_FOLDER, '--target', 'bench_programs'])) === 0;
  if (!isBuilt) throw new Error('The programs of the benchmarks cannot be built');
}

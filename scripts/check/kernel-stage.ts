/**
 * The tests of test/kernel, each file in a User-Mode Linux of its own, twice as many at once as there are cores. With
 * ROOTLOOM_KERNEL=host they run one after the other on this very kernel, which must have its nbd driver loaded.
 */
import { access } from 'node:fs/promises';
import path from 'node:path';
import { type FileResult, listCases, runFileHere, runFileInUml } from '../../test/kernel/harness/suite.js';
import { inLanes } from './lanes.js';
import { CORES, failure, type Outcome, type Stage, sumOutcomes } from './stage.js';

type RunFile = typeof runFileHere;

interface Way {
  run: RunFile;
  /** Files at once. */
  lanes: number;
}

/** What takes longest is begun first: no core waits for it in the end. */
const LONGEST = ['kill', 'cycles', 'cli-mount', 'truth'];

function rankOf(file: string): number {
  const name = path.basename(file, '.test.ts');
  return [...LONGEST, name].indexOf(name);
}

/** Resolves with how to run a file, or with why none can be run. */
async function chooseWay(): Promise<Way | string> {
  const choice = process.env.ROOTLOOM_KERNEL ?? 'uml';
  const isThere = (file: string) =>
    access(file).then(
      () => true,
      () => false,
    );
  if (choice === 'host') {
    if (!(await isThere('/sys/module/nbd'))) {
      return 'Cannot test on this kernel: its nbd driver is not loaded, run modprobe nbd nbds_max=16';
    }
    return process.getuid?.() === 0
      ? { run: runFileHere, lanes: 1 }
      : 'Cannot test on this kernel: only root can use its devices';
  }
  if (choice !== 'uml') return `Cannot test with ROOTLOOM_KERNEL=${choice}: it is uml (the default) or host`;
  if (!(await isThere('/usr/bin/linux.uml'))) {
    return 'Cannot boot User-Mode Linux: it is not installed, run scripts/setup';
  }
  return { run: runFileInUml, lanes: 2 * CORES }; // Half of the time a guest waits.
}

function show(result: FileResult, seconds: number, always: boolean): void {
  const { file, passed, problems, output } = result;
  if (always || problems.length > 0) console.log(output);
  for (const problem of problems) console.log(problem);
  console.log(`${file}: ${passed} passed, ${problems.length} failed, ${seconds.toFixed(0)} s`);
}

/** @param filters Parts of the names of the files to run; default all. */
export function kernelStage(filters: readonly string[] = []): Stage {
  return {
    name: 'tests in a kernel with an nbd driver',
    async run() {
      const way = await chooseWay();
      if (typeof way === 'string') {
        console.error(way);
        return failure(way);
      }
      const cases = [...(await listCases(filters))].sort(([a], [b]) => rankOf(a) - rankOf(b));
      const outcomes: Outcome[] = [];
      await inLanes(cases, way.lanes, async ([file, names]) => {
        const started = Date.now();
        const result = await way.run(file, names);
        show(result, (Date.now() - started) / 1000, filters.length > 0);
        outcomes.push({ passed: result.passed, failures: result.problems });
      });
      return outcomes.length === 0 ? failure('no test was found') : sumOutcomes(outcomes);
    },
  };
}

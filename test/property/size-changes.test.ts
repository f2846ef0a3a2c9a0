/**
 * Random images, random size changes, random trouble. The number of cases is ROOTLOOM_CASES, by default enough for CI;
 * `npm run soak:resize` runs many. A case is replayed with ROOTLOOM_SEED=<its seed> ROOTLOOM_CASES=1.
 */
import { mkdir, rm } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { STRATEGIES } from '../../lib/rootfs/strategy.js';
import { SEED } from '../helpers/random.js';
import { makeScratch, makeScratchFolder } from '../helpers/temporary.js';
import { bundleFaultyStep } from './failing-writes.js';
import { Scenario, type Tally } from './scenario.js';

const CASES = Number(process.env.ROOTLOOM_CASES ?? 200);
/** So many that every strategy meets a write error. */
const ENOUGH_CASES = 200;
const TIMEOUT_MS = 60_000 + CASES * 10_000;

/** A program, see `bundleFaultyStep`. */
let faultyStep: string;

beforeAll(async () => {
  const folder = await makeScratchFolder(new URL('../../build', import.meta.url).pathname);
  faultyStep = await bundleFaultyStep(folder);
  return () => rm(folder, { recursive: true });
});

test(`a disk is wholly the old or wholly the new one, whatever happens (ROOTLOOM_SEED=${SEED})`, {
  timeout: TIMEOUT_MS,
}, async () => {
  const root = await makeScratch();
  const tally: Tally = new Map();
  const failures: unknown[] = [];
  let next = 0;
  const lanes = Array.from({ length: availableParallelism() }, async () => {
    while (next < CASES && failures.length < 5) {
      const seed = SEED + next;
      next += 1;
      const folder = path.join(root, `${seed}`);
      await mkdir(folder);
      await new Scenario(seed, folder, tally, faultyStep).run().catch((error) => failures.push(error));
      await rm(folder, { recursive: true }); // Tens of thousands would not find room.
    }
  });
  await Promise.all(lanes);
  console.log(
    [...tally]
      .sort()
      .map(([outcome, count]) => `${count} × ${outcome}`)
      .join('\n'),
  );
  expect(failures.map((failure) => (failure as Error).message)).toEqual([]);
  // A run in which nothing succeeds would prove nothing.
  const done = [...tally]
    .filter(([outcome]) => outcome.endsWith('done'))
    .reduce((sum, [, count]) => sum + count, 0);
  expect(done).toBeGreaterThanOrEqual(CASES / 2);
  if (CASES < ENOUGH_CASES) return;
  for (const strategy of STRATEGIES) expect(tally.get(`${strategy} write-error: failed`)).toBeGreaterThan(0);
});

const REGRESSIONS = [
  // A disk that is minimal already, made minimal or too small: what resize2fs then says was taken for a full host.
  598059436,
  598059512,
  // A shrink that cuts up extents of files under quota, whose sums were left as they were.
  1268474974, 2073909296,
  // A backup of the superblock that moves (sparse_super2), and is counted wrong.
  1925137548,
  // Room wanted of a disk whose groups all hold a copy of the descriptors: the largest size has none.
  2073909202,
];

test.each(REGRESSIONS)('case %i passes, which once did not', async (seed) => {
  await new Scenario(seed, await makeScratch(), new Map(), faultyStep).run();
});

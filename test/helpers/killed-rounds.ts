/** Children that do the same round after round, and are killed in the middle. */
import { sleep } from '../../lib/util/abort.js';
import { seededRandom } from './random.js';
import { startChild } from './temporary.js';

/** How far beyond the first round a child may get. */
const OVERRUN = 1.5;

/** How long a round takes here and now. */
async function measureRound(file: URL, args: readonly string[]): Promise<number> {
  const child = startChild(file, args);
  await child.waitFor('ready');
  const started = performance.now();
  await child.waitFor('round 0');
  const roundMs = performance.now() - started;
  await child.kill();
  return roundMs;
}

/**
 * Starts a script that prints `ready`, and `round 0` at the end of its first round, again and again, kills it each time at a random
 * moment of that round or soon after, and then awaits `check`.
 */
export async function killAtMoments(
  file: URL,
  args: readonly string[],
  moments: number,
  check: () => Promise<void>,
): Promise<void> {
  const random = seededRandom();
  const roundMs = await measureRound(file, args);
  for (let moment = 0; moment < moments; moment += 1) {
    const child = startChild(file, args);
    await child.waitFor('ready');
    await sleep(random.next() * roundMs * OVERRUN);
    await child.kill();
    await check();
  }
}

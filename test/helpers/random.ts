/** Random numbers that can be had again. */
import { randomInt } from 'node:crypto';

/** Numbers from 0 to 1, the same ones for the same seed, which is printed, and taken from the environment variable `name` if it is set. */
export function seededRandom(name: string): () => number {
  let state = Number(process.env[name] ?? randomInt(2 ** 31));
  console.log(`${name}=${state}`);
  return () => {
    // A linear congruential generator, which suffices for choosing moments.
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return state / 2 ** 32;
  };
}

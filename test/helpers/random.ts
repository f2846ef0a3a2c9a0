/** Random numbers that can be had again: every random test takes its seed from ROOTLOOM_SEED, and prints it. */
import { randomInt } from 'node:crypto';

/** The seed to use: that of the environment, or a new one. */
export const SEED = Number(process.env.ROOTLOOM_SEED ?? randomInt(2 ** 31));

/** A small generator (mulberry32): the same numbers for the same seed. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** In [0, 1). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number from 0 to `bound`, itself not included. */
  below(bound: number): number {
    return Math.floor(this.next() * bound);
  }

  /** A whole number from `least` to `most`, both included. */
  integer(least: number, most: number): number {
    return least + this.below(most - least + 1);
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<const Value>(values: readonly [Value, ...Value[]]): Value {
    return values[this.below(values.length)] as Value;
  }

  bytes(length: number): Buffer {
    const words = new Uint32Array(Math.ceil(length / 4));
    for (let index = 0; index < words.length; index += 1) words[index] = this.below(2 ** 32);
    return Buffer.from(words.buffer, 0, length);
  }
}

/** A generator with that seed, which is printed. */
export function seededRandom(): Random {
  console.log(`ROOTLOOM_SEED=${SEED}`);
  return new Random(SEED);
}

/** What a handful of samples says. */

export interface Summary {
  median: number;
  least: number;
  most: number;
  /** How far apart the samples are: (most - least) / median. */
  spread: number;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const upper = sorted[Math.floor(sorted.length / 2)];
  if (upper === undefined) throw new RangeError('There is no median of no values');
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[sorted.length / 2 - 1] as number)) / 2;
}

export function summarize(values: readonly number[]): Summary {
  const middle = median(values);
  const [least, most] = [Math.min(...values), Math.max(...values)];
  return { median: middle, least, most, spread: middle === 0 ? 0 : (most - least) / middle };
}

/** The ways in which a disk gets its size. */

/** See `Strategy`. */
export const STRATEGIES = ['resize', 'rebuild', 'copy'] as const;

/**
 * `resize` changes the filesystem in place, on the source's chain. `rebuild` makes a new one, whose files' content stays where that
 * chain has it. `copy` makes a new one that needs no other build.
 */
export type Strategy = (typeof STRATEGIES)[number];

/** Throws TypeError for anything that is no strategy. */
export function validateStrategy(strategy: Strategy): void {
  if (STRATEGIES.includes(strategy)) return;
  throw new TypeError(`Cannot use the strategy ${strategy}: wanted one of ${STRATEGIES.join(', ')}`);
}

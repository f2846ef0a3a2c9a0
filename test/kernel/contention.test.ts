/** Processes that want the same devices get each one alone. */
import { describe, expect, it } from 'vitest';
import { makeScratch, startChild } from '../helpers/temporary.js';
import { devicesInUse } from './support/system.js';

const SECONDS = 30;

describe('the pool', () => {
  it('never gives a device to two owners, however many want one', async () => {
    const folder = await makeScratch();
    const start = () => startChild(new URL('children/contend.ts', import.meta.url), [`${SECONDS}`, folder]);
    const children = [start(), start()];
    expect(await Promise.all(children.map((child) => child.waitForExit()))).toEqual([0, 0]);
    for (const { lines } of children) {
      console.log(lines[0]);
      const { attached, violations } = JSON.parse(lines[0] as string);
      expect(violations).toBe(0);
      expect(attached).toBeGreaterThan(20);
    }
    expect(await devicesInUse()).toEqual([]);
  });
});

import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { inLanes } from '../../../scripts/check/lanes.js';

test('inLanes takes the items in their order, and as many at once as there are lanes', async () => {
  const begun: number[] = [];
  let most = 0;
  let under = 0;
  await inLanes([1, 2, 3, 4, 5], 2, async (item) => {
    begun.push(item);
    under += 1;
    most = Math.max(most, under);
    await setImmediate();
    under -= 1;
  });
  expect(begun).toEqual([1, 2, 3, 4, 5]);
  expect(most).toBe(2);
});

test('inLanes does the rest when some fail, and rejects with every error', async () => {
  const done: number[] = [];
  const run = (bad: readonly number[]) =>
    inLanes([1, 2, 3, 4], 2, async (item) => {
      if (bad.includes(item)) throw new Error(`item ${item}`);
      done.push(item);
    });
  await expect(run([2])).rejects.toThrow('item 2');
  expect(done.splice(0)).toEqual([1, 3, 4]);
  await expect(run([1, 3])).rejects.toMatchObject({
    message: '2 of 4 have failed',
    errors: [new Error('item 1'), new Error('item 3')],
  });
  expect(done).toEqual([2, 4]);
});

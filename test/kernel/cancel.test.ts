/** Attaching can be called off at any moment, and then nothing of it stays. */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { attach, createFaultyDevice, createMemoryDevice, nbdDevices } from '../../lib/index.js';
import { seededRandom } from '../helpers/random.js';
import { devicesInUse, footprint, MIB } from './support/system.js';

const MOMENTS = 200;

async function expectNothingLeft(): Promise<void> {
  expect(await devicesInUse()).toEqual([]);
  expect((await nbdDevices()).filter(({ use }) => use !== 'free')).toEqual([]);
}

describe('attach that is aborted', () => {
  it('leaves no device, descriptor, thread or slot, whenever it happens', async () => {
    const random = seededRandom();
    // The kernel reads the partition table while it is attached: a slow device makes that stage longer than the others.
    const slow = createFaultyDevice(createMemoryDevice({ size: 8 * MIB }), { faults: [{ delayMs: 20 }] });
    const fast = createMemoryDevice({ size: 8 * MIB });
    let longestMs = 0;
    for (let index = 0; index < 5; index += 1) {
      const started = performance.now();
      await (await attach(slow)).close();
      longestMs = Math.max(longestMs, performance.now() - started);
    }
    await expectNothingLeft();
    const before = await footprint();
    const ends = { attached: 0, aborted: 0 };
    for (let index = 0; index < MOMENTS; index += 1) {
      const controller = new AbortController();
      const reason = new Error(`moment ${index}`);
      const device = random.chance(0.5) ? slow : fast;
      const mechanism = random.chance(0.5) ? 'netlink' : 'ioctl';
      const call = attach(device, {
        signal: controller.signal,
        connections: 1 + random.below(4),
        mechanism,
      }).then(
        async (attachment) => {
          ends.attached += 1;
          await attachment.close();
        },
        (error) => {
          ends.aborted += 1;
          expect(error).toBe(reason);
        },
      );
      await sleep(random.next() * longestMs * 0.8);
      controller.abort(reason);
      await call;
      expect(await devicesInUse()).toEqual([]);
    }
    console.log(`${ends.aborted} aborted, ${ends.attached} attached before that`);
    expect(ends.aborted).toBeGreaterThan(MOMENTS / 10);
    await expectNothingLeft();
    const { descriptors, threads } = await footprint();
    expect({ descriptors, threads }).toEqual({ descriptors: before.descriptors, threads: before.threads });
    await slow.close();
    await fast.close();
  });

  it('does not begin when it is aborted already', async () => {
    await using device = createMemoryDevice({ size: 8 * MIB });
    const reason = new Error('called off');
    await expect(attach(device, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    await expectNothingLeft();
  });
});

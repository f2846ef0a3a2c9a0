/** Attaching and detaching a thousand times costs no more than once. */
import { open } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { type AttachMechanism, attach, createMemoryDevice } from '../../lib/index.js';
import { devicesInUse, footprint, MIB } from './support/system.js';

const CYCLES = 500;
const WARM_UP = 50;

describe('Attachment', () => {
  it.each(['netlink', 'ioctl'] as const)(
    'leaves nothing behind in 500 cycles by %s',
    async (mechanism: AttachMechanism) => {
      await using device = createMemoryDevice({ size: 8 * MIB });
      const block = Buffer.alloc(4096);
      async function cycle(index: number): Promise<void> {
        await using attachment = await attach(device, { mechanism, connections: 1 + (index % 2) });
        const file = await open(attachment.path, 'r+');
        block.fill(index % 251);
        await file.write(block, 0, block.length, 4096 * (index % 2048));
        await file.sync();
        await file.close();
      }
      for (let index = 0; index < WARM_UP; index += 1) await cycle(index);
      const before = await footprint();
      for (let index = 0; index < CYCLES; index += 1) await cycle(index);
      const after = await footprint();
      console.log(JSON.stringify({ before, after }));
      expect(after.descriptors).toBe(before.descriptors);
      expect(after.threads).toBe(before.threads);
      expect(after.residentBytes - before.residentBytes).toBeLessThan(24 * MIB);
      expect(await devicesInUse()).toEqual([]);
    },
  );
});

/** The process that serves a disk may use it like any other, however busy its own threads are. */
import { randomBytes } from 'node:crypto';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { open, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import { describe, expect, it } from 'vitest';
import { attach, createFaultyDevice, emptyDevice } from '../../lib/index.js';
import { dropCaches, format, MIB, mount, unmount } from './support/system.js';

/** Of libuv, unless the environment says otherwise. */
const POOL_THREADS = Number(process.env.UV_THREADPOOL_SIZE ?? 4);

const FILES = 48;

describe('a process that has its own disk mounted', () => {
  it('reads and writes it through Node, also with every thread of the pool waiting for it', async () => {
    await using overlay = await emptyDevice(128 * MIB);
    await using device = createFaultyDevice(overlay, { faults: [{ operation: 'read', delayMs: 15 }] });
    await using attachment = await attach(device, { connections: 2 });
    await format(attachment.path);
    const folder = await mount(attachment.path);
    const name = (index: number) => path.join(folder, `${index}`);
    const contents = Array.from({ length: FILES }, () => randomBytes(300_000));
    await Promise.all(contents.map((content, index) => writeFile(name(index), content, { flush: true })));

    for (let round = 0; round < 3; round += 1) {
      await dropCaches();
      const readings = contents.map((_content, index) => readFile(name(index)));
      expect(readings.length).toBeGreaterThan(2 * POOL_THREADS);
      // This thread waits for the device, too, while the pool's threads do.
      expect(readFileSync(name(FILES - 1)).equals(contents[FILES - 1] as Buffer)).toBe(true);
      expect(statSync(name(0)).size).toBe(300_000);
      for (const [index, content] of (await Promise.all(readings)).entries()) {
        expect(content.equals(contents[index] as Buffer)).toBe(true);
      }
    }

    const files = await Promise.all(
      Array.from({ length: 2 * POOL_THREADS }, (_, index) => open(name(index), 'r+')),
    );
    await Promise.all(files.map((file) => file.write(randomBytes(MIB))));
    const syncs = files.map((file) => file.sync());
    writeFileSync(path.join(folder, 'synchronous'), randomBytes(MIB), { flush: true });
    await Promise.all(syncs);
    await Promise.all(files.map((file) => file.close()));
    await unmount(folder);
    await execa('e2fsck', ['-fn', attachment.path]);
  });
});

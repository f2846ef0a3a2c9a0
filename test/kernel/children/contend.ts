/**
 * Attaches and detaches as many devices as it can get, until the time is up, and prints what it counted.
 *
 *   contend SECONDS FOLDER    whoever has a device has a file of its name in FOLDER, which nobody else may make meanwhile
 */
import { open, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { attach, createMemoryDevice, isRootloomError, openNbdPool } from '../../../lib/index.js';

const BLOCK_BYTES = 4096;
const LANES = 10; // Two such processes want more devices than there are.

const [seconds = '1', folder = ''] = process.argv.slice(2);
const end = Date.now() + Number(seconds) * 1000;
const counts = { attached: 0, refused: 0, violations: 0 };

/** Its first block says whose it is. */
async function isOurs(device: string, mark: Buffer): Promise<boolean> {
  const file = await open(device);
  const { buffer } = await file.read(Buffer.alloc(BLOCK_BYTES), 0, BLOCK_BYTES, 0);
  await file.close();
  return buffer.equals(mark);
}

async function contend(lane: number): Promise<void> {
  const mark = Buffer.alloc(BLOCK_BYTES, `process ${process.pid}, lane ${lane}; `);
  await using device = createMemoryDevice({ size: 1024 ** 2 });
  await device.write(0, mark);
  await using pool = await openNbdPool();
  while (Date.now() < end) {
    try {
      await using attachment = await attach(device, { pool });
      const claim = path.join(folder, path.basename(attachment.path));
      await writeFile(claim, mark, { flag: 'wx' }).catch(() => {
        counts.violations += 1;
      });
      if (!(await isOurs(attachment.path, mark))) counts.violations += 1;
      await rm(claim);
      counts.attached += 1;
    } catch (error) {
      if (!isRootloomError(error, 'BUSY')) throw error;
      counts.refused += 1;
    }
  }
}

await Promise.all(Array.from({ length: LANES }, (_, lane) => contend(lane)));
console.log(JSON.stringify(counts));

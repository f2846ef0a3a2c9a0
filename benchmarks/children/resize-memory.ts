/** Resizes an empty filesystem from one size to another and prints the process's peak memory in bytes: FROM TO FOLDER. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { createOverlay, createZeroDevice, ext4 } from '../../lib/index.js';

const UUID = '3f0c5b1e-9a53-8c44-9d11-6a2b7c8d9e0f';
const [from, to] = process.argv.slice(2, 4).map(Number) as [number, number];
const folder = process.argv[4] as string;

await using zeros = createZeroDevice({ size: Math.max(from, to) });
await using disk = await createOverlay(zeros, { upperPath: path.join(folder, `memory-${process.pid}`) });
await ext4.mkfs(disk, { uuid: UUID, hashSeed: UUID, time: 1, size: from });
await ext4.resize(disk, { size: to }, { isolation: 'none', scratchFolder: folder });
const status = await readFile('/proc/self/status', 'utf8');
const peak = /^VmHWM:\s*(\d+) kB$/m.exec(status)?.[1];
if (peak === undefined) throw new Error('The kernel does not tell the peak memory');
process.stdout.write(String(Number(peak) * 1024));

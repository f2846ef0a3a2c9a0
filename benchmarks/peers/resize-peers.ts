/** Ways to give a template's disk another size, to be measured beside each other. */
import { mkdir, rm, stat, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import { openRootfs, resizeRootfs, type Store } from '../../lib/index.js';
import type { Sample } from '../harness/point.js';

export const WHOLE_CALL = 'rootloom: new template disk';
export const STOCK_TOOLS = 'e2fsck + resize2fs + e2fsck';
export const EVERY_FILE = 'mke2fs + rsync + e2fsck + resize2fs -M + resize2fs + e2fsck';

/** Runs a program of e2fsprogs; e2fsck's exit code 1 means that it corrected something. */
async function run(command: string, ...args: string[]): Promise<void> {
  const { exitCode, stderr } = await execa(command, args, { reject: false });
  if (exitCode !== 0 && !(command === 'e2fsck' && exitCode === 1))
    throw new Error(`${command} exited with ${exitCode}: ${stderr}`);
}

/** rootloom, with everything: open the chain, overlay, resize in place, seal, publish with every fsync. */
export async function resizeHere(store: Store, source: string, size: number): Promise<Sample> {
  const started = performance.now();
  const { buildId, diffBytes } = await resizeRootfs(store, source, { disk: { size } });
  const milliseconds = performance.now() - started;
  await using rootfs = await openRootfs(store, buildId);
  if ((await rootfs.stats()).sizeBytes !== size) throw new Error('The disk has not the size asked for');
  return { value: milliseconds, newBytes: diffBytes };
}

async function touch(file: string): Promise<string> {
  await writeFile(file, '');
  return file;
}

/** The same size for a raw copy of the disk, by the tools of the distribution. Making the copy is not timed. */
export async function resizeWithStockTools(raw: string, folder: string, size: number): Promise<Sample> {
  const copy = path.join(folder, 'copy.img');
  await run('cp', '--sparse=always', raw, copy);
  const started = performance.now();
  await truncate(copy, size);
  await run('e2fsck', '-fy', copy);
  await run('resize2fs', copy);
  await run('e2fsck', '-fn', copy);
  const milliseconds = performance.now() - started;
  const { blocks } = await stat(copy);
  await rm(copy);
  return { value: milliseconds, newBytes: blocks * 512 };
}

/** The way that a template got another disk size before: a new filesystem, every file copied, shrunk, grown, checked. */
export async function copyEveryFile(raw: string, folder: string, size: number): Promise<Sample> {
  const image = path.join(folder, 'new.img');
  const [from, to] = [path.join(folder, 'from'), path.join(folder, 'to')];
  await mkdir(from, { recursive: true });
  await mkdir(to, { recursive: true });
  const started = performance.now();
  await truncate(await touch(image), size);
  await run('mke2fs', '-q', '-t', 'ext4', '-b', '4096', '-m', '0', image);
  await run('mount', '-o', 'loop,ro,noload', raw, from);
  try {
    await run('mount', '-o', 'loop', image, to);
    try {
      await run('rsync', '-aHAX', '--numeric-ids', '--sparse', `${from}/`, `${to}/`);
    } finally {
      await run('umount', to);
    }
  } finally {
    await run('umount', from);
  }
  await run('e2fsck', '-fy', image);
  await run('resize2fs', '-M', image);
  await run('resize2fs', image, `${size / 1024}K`);
  await run('e2fsck', '-fn', image);
  const milliseconds = performance.now() - started;
  const { blocks } = await stat(image);
  await rm(image);
  return { value: milliseconds, newBytes: blocks * 512 };
}

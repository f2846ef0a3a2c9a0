/** What the tests do with the kernel: its devices, mounts, and this process's share of its resources. */
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import { onTestFinished } from 'vitest';
import { makeScratch } from '../../helpers/temporary.js';

export const MIB = 1024 ** 2;

/** Makes an ext4 filesystem by the stock tool; everything is written at once, so that nothing happens later by itself. */
export async function format(device: string): Promise<void> {
  await execa('mke2fs', ['-q', '-t', 'ext4', '-E', 'lazy_itable_init=0,lazy_journal_init=0', device]);
}

/** Mounts at a new folder, from which it is unmounted at the latest when the test ends. */
export async function mount(device: string, options = 'defaults'): Promise<string> {
  const folder = await makeScratch();
  await execa('mount', ['-t', 'ext4', '-o', options, device, folder]);
  onTestFinished(async () => {
    await execa('umount', ['-q', '-l', folder], { reject: false });
  });
  return folder;
}

export async function unmount(folder: string): Promise<void> {
  await execa('umount', [folder]);
}

/** Forgets what is cached and clean, so that the next read comes from the device. */
export async function dropCaches(): Promise<void> {
  await execa('sh', ['-c', 'echo 3 >/proc/sys/vm/drop_caches']);
}

/** The names of the devices that the kernel has a connection for. */
export async function devicesInUse(): Promise<string[]> {
  const names = (await readdir('/sys/block')).filter((name) => /^nbd\d+$/.test(name));
  const used = await Promise.all(
    names.map(async (name) => (await readdir(path.join('/sys/block', name))).includes('pid')),
  );
  return names.filter((_name, index) => used[index]);
}

/** In bytes, as the kernel says. */
export async function sizeOf(device: string): Promise<number> {
  return Number(await readFile(`/sys/block/${path.basename(device)}/size`, 'utf8')) * 512;
}

/** What a process holds of the system. */
export interface Footprint {
  descriptors: number;
  threads: number;
  /** Of memory in use, in bytes. */
  residentBytes: number;
}

export async function footprint(): Promise<Footprint> {
  const status = await readFile('/proc/self/status', 'utf8');
  const field = (name: string) => Number(new RegExp(`^${name}:\\s*(\\d+)`, 'm').exec(status)?.[1]);
  return {
    // Without the descriptor that lists them.
    descriptors: (await readdir('/proc/self/fd')).length - 1,
    threads: field('Threads'),
    residentBytes: field('VmRSS') * 1024,
  };
}

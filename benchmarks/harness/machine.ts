/** Where a benchmark ran. */
import { cpus, loadavg, release, totalmem } from 'node:os';
import { execa } from 'execa';
import { ext4, formatByteSize, packageVersion } from '../../lib/index.js';

/** The first line that a program prints about its version. */
export async function versionOf(command: string, ...args: string[]): Promise<string> {
  const { stdout, stderr } = await execa(command, args);
  return (stdout || stderr).split('\n')[0] ?? '';
}

/** Facts that a figure means nothing without. The load is that of the last minute, by whatever else runs here. */
export function describeMachine(): Record<string, string> {
  return {
    date: new Date().toISOString().slice(0, 10),
    processor: `${cpus()[0]?.model ?? 'unknown'}, ${cpus().length} cores`,
    memory: formatByteSize(totalmem()),
    kernel: release(),
    'load before': (loadavg()[0] ?? 0).toFixed(1),
    node: process.version,
    rootloom: `${packageVersion}, e2fsprogs ${ext4.engineVersion} inside`,
  };
}

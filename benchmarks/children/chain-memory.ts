/**
 * Serves an overlay over a chain, lets four clients read and write it, and prints how many bytes of memory the process took at its
 * peak beyond what it had before, with Node and everything loaded: HEADER DIFF FOLDER.
 */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import { createOverlay, openChain, serve } from '../../lib/index.js';
import { summarizeHeader } from '../../lib/native/header.js';

const [headerPath, diffPath, folder] = process.argv.slice(2) as [string, string, string];
async function serveUnderLoad(): Promise<void> {
  const header = await readFile(headerPath);
  const { sources } = await summarizeHeader(header);
  const diffs = Object.fromEntries(sources.map(({ buildId }) => [buildId, { path: diffPath }]));
  await using chain = await openChain({ header, diffs });
  await using overlay = await createOverlay(chain, { upperPath: path.join(folder, `memory-${process.pid}`) });
  await using server = await serve(overlay, { socketPath: path.join(folder, 'memory.sock') });
  const load = [
    '--ioengine=nbd',
    `--uri=${server.uri}`,
    '--rw=randrw',
    '--rwmixread=90',
    '--bs=4k',
    '--iodepth=64',
  ];
  const shape = [
    '--numjobs=4',
    '--time_based',
    '--runtime=1',
    '--size=1T',
    '--norandommap',
    '--randrepeat=0',
  ];
  await execa('fio', ['--name=load', '--output=/dev/null', ...load, ...shape], { cwd: folder });
  await server.discard(); // Nobody wants to wait until thousands of scattered blocks are on a disk.
}

async function readStatus(name: 'VmRSS' | 'VmHWM'): Promise<number> {
  const status = await readFile('/proc/self/status', 'utf8');
  const found = new RegExp(`^${name}:\\s*(\\d+) kB$`, 'm').exec(status)?.[1];
  if (found === undefined) throw new Error(`The kernel does not tell ${name}`);
  return Number(found) * 1024;
}

const before = await readStatus('VmRSS');
await serveUnderLoad();
process.stdout.write(String((await readStatus('VmHWM')) - before));

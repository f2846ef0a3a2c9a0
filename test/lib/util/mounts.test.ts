/** What the kernel tells about mounts and their users. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { open, realpath, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { parseMountTable, readMountTable } from '../../../lib/util/mount-table.js';
import { findPathUsers } from '../../../lib/util/path-users.js';
import { makeScratch } from '../../helpers/temporary.js';

it('parseMountTable reads names with blanks, backslashes and bytes beyond ASCII', () => {
  const text = [
    '36 35 43:96 / /mnt/with\\040blank\\134 rw,noatime master:1 - ext4 /dev/nbd3 rw,errors=continue',
    `37 35 0:22 / ${Buffer.from('/größe').toString('latin1')} rw shared:2 master:1 propagate_from:3 - tmpfs none rw`,
    'nothing like it',
    '',
  ].join('\n');
  expect(parseMountTable(text)).toEqual([
    { device: '43:96', path: '/mnt/with blank\\', type: 'ext4', source: '/dev/nbd3' },
    { device: '0:22', path: '/größe', type: 'tmpfs', source: 'none' },
  ]);
});

it('readMountTable finds /proc', async () => {
  expect(await readMountTable()).toContainEqual(expect.objectContaining({ path: '/proc', type: 'proc' }));
});

/** A process that does nothing, killed at the latest when the test ends. */
async function startSleeper(options: { cwd?: string; command?: string }): Promise<number> {
  const { cwd, command = 'exec sleep 1000' } = options;
  const child = spawn('sh', ['-c', `echo; ${command}`], { cwd, stdio: ['ignore', 'pipe', 'inherit'] });
  onTestFinished(() => void child.kill('SIGKILL'));
  await once(child.stdout, 'data');
  return child.pid as number;
}

it('findPathUsers tells who works in a folder, or has a file below it open', async () => {
  const folder = await realpath(await makeScratch());
  const file = path.join(folder, 'file');
  await writeFile(file, 'content');
  const worker = await startSleeper({ cwd: folder });
  const reader = await startSleeper({ command: `exec 3<'${file}'; exec sleep 1000` });
  const mapper = await startSleeper({ command: `cp /bin/sleep '${folder}/nap'; exec '${folder}/nap' 1000` });
  await expect.poll(() => findPathUsers(folder)).toHaveLength(3);
  const found = new Map((await findPathUsers(folder)).map(({ pid, name, use }) => [pid, `${name}: ${use}`]));
  expect(found.get(worker)).toBe('sleep: working folder');
  expect(found.get(reader)).toBe('sleep: open file');
  expect(found.get(mapper)).toBe('nap: program');
});

it('findPathUsers leaves out this process, and folders with a longer name', async () => {
  const folder = await realpath(await makeScratch());
  await writeFile(path.join(folder, 'file'), '');
  await using _open = await open(path.join(folder, 'file'));
  expect(await findPathUsers(folder)).toEqual([]);
  await startSleeper({ cwd: folder });
  expect(await findPathUsers(folder.slice(0, -1))).toEqual([]);
});

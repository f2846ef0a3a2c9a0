/** mount, attach and devices where the kernel has no NBD driver: they say what to do, and leave nothing. test/kernel has the rest. */
import { mkdir, readdir } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import { beforeEach, expect, it } from 'vitest';
import { CLI_FILE } from '../../helpers/compiled-library.js';
import { makeJournalFile } from '../../helpers/journal-file.js';
import { type MountableBuild, makeMountableBuild } from '../../helpers/mountable-build.js';
import { stateOf } from '../../helpers/store-state.js';
import { makeScratch } from '../../helpers/temporary.js';

const JOURNALS = '/var/log/journal/0123456789abcdef0123456789abcdef';

let scratch: string;
let folder: string;
let made: MountableBuild;
beforeEach(async () => {
  scratch = await makeScratch();
  folder = path.join(scratch, 'mnt');
  await mkdir(folder);
  made = await makeMountableBuild(scratch);
});

/** Runs the command with --json where nobody sees the drivers that this machine may have. */
async function runWithoutDrivers([command = '', ...args]: readonly string[]) {
  const namespace = ['--user', '--map-root-user', '--mount', 'sh', '-c'];
  const prelude = 'mount -t tmpfs none /sys && exec "$@"';
  const program = [process.execPath, CLI_FILE, command, '--json', ...args];
  const { exitCode, stdout, stderr } = await execa('unshare', [...namespace, prelude, 'sh', ...program], {
    env: { ROOTLOOM_STORE: made.storePath, XDG_CACHE_HOME: scratch }, // No kernel is there to try KVM with.
    reject: false,
  });
  return { exitCode, stdout, error: stderr === '' ? undefined : JSON.parse(stderr).error };
}

it.each([
  ['mount', (id: string) => ['mount', id, folder]],
  ['mount --read-only --verify', (id: string) => ['mount', id, folder, '--read-only', '--verify']],
  ['mount --device-only --log', (id: string) => ['mount', id, '--device-only', '--log']],
  ['attach', (id: string) => ['attach', id]],
  ['attach --empty', () => ['attach', '--empty', '--size', '1G']],
  ['devices', () => ['devices']],
  ['devices --reclaim', () => ['devices', '--reclaim']],
])('%s says how to load the driver, and leaves nothing', async (_, args) => {
  const { exitCode, stdout, error } = await runWithoutDrivers(args(made.buildId));
  expect({ exitCode, stdout, code: error.code }).toEqual({ exitCode: 1, stdout: '', code: 'MODULE_MISSING' });
  expect(error.message).toMatch(/modprobe nbd nbds_max=\d+/);
  expect((await stateOf(made.store)).temporary).toEqual([]);
  expect(await readdir(folder)).toEqual([]);
});

it('mount looks at the folder before anything else', async () => {
  const missing = await runWithoutDrivers(['mount', made.buildId, path.join(folder, 'missing')]);
  expect(missing).toMatchObject({ exitCode: 1, error: { code: 'NOT_FOUND' } });
  const file = await runWithoutDrivers(['mount', made.buildId, path.join(scratch, 'image.ext4')]);
  expect(file).toMatchObject({ exitCode: 1, error: { code: 'INVALID_ARGUMENT' } });
  const taken = await runWithoutDrivers(['mount', made.buildId, '/proc']);
  expect(taken).toMatchObject({ exitCode: 1, error: { code: 'BUSY', context: { path: '/proc' } } });
});

it('mount --verify refuses a disk that is not sound before it attaches anything', async () => {
  const own = path.join(scratch, 'damaged');
  await mkdir(own);
  made = await makeMountableBuild(own, async (tree) => {
    await tree.mkdir(JOURNALS, { recursive: true });
    await tree.writeFile(`${JOURNALS}/system.journal`, makeJournalFile({ damaged: true }));
  });
  const { exitCode, error } = await runWithoutDrivers(['mount', made.buildId, folder, '--verify']);
  expect(exitCode).toBe(1);
  expect(error).toMatchObject({ code: 'CORRUPT', context: { path: `${JOURNALS}/system.journal` } });
  expect((await stateOf(made.store)).temporary).toEqual([]);
});

it('doctor says how to load the driver, or that there is none to load', async () => {
  const { stdout } = await runWithoutDrivers(['doctor']);
  const findings: { name: string; state: string; found: string; cost: string }[] = JSON.parse(stdout);
  const finding = findings.find(({ name }) => name === 'kernel NBD');
  expect(finding).toMatchObject({
    state: 'limited',
    found: expect.stringMatching(/not loaded|no driver installed/),
  });
  expect(finding?.cost).toMatch(/^no mount and no attach; /);
});

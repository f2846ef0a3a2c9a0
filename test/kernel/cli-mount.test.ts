/** The commands mount, attach and devices, as processes of their own, on a real kernel. */
import { mkdir, readdir, readFile, realpath, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openBuild } from '../../lib/artifact/build.js';
import { nbdDevices } from '../../lib/native/nbd-pool.js';
import { openStore } from '../../lib/storage/open-store.js';
import { RunningCli, runCli, runCliJson } from '../helpers/cli.js';
import { startFolderUser } from '../helpers/folder-user.js';
import { makeJournalFile } from '../helpers/journal-file.js';
import { type MountableBuild, makeMountableBuild } from '../helpers/mountable-build.js';
import { expectNothingAttached, isMounted } from '../helpers/nbd-state.js';
import { stateOf } from '../helpers/store-state.js';
import { makeScratch } from '../helpers/temporary.js';

let made: MountableBuild;
let scratch: string;
let folder: string;
beforeEach(async () => {
  scratch = await realpath(await makeScratch());
  made = await makeMountableBuild(scratch);
  folder = path.join(scratch, 'mnt');
  await mkdir(folder);
});
afterEach(async () => {
  await expectNothingAttached();
  expect((await stateOf(made.store)).temporary).toEqual([]);
  await (await openBuild(made.store, made.buildId)).verify({ deep: true });
});

const start = (...args: string[]) => RunningCli.start(args, { store: made.storePath });
const run = (...args: string[]) => runCli(args, { store: made.storePath });
const runJson = (...args: string[]) => runCliJson(args, { store: made.storePath });

async function startMount(...args: string[]): Promise<RunningCli> {
  const running = await start('mount', made.buildId, folder, ...args);
  await running.waitFor(/^\/dev\/nbd\d+ on \/.*\n/);
  return running;
}

describe('rootloom mount', () => {
  it.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)(
    'is ready when it says so, and ends in order on %s',
    async (signal) => {
      const running = await startMount();
      expect((await readFile(path.join(folder, 'srv/blob'))).equals(made.blob)).toBe(true);
      await writeFile(path.join(folder, 'file'), made.blob);
      expect(await running.end(signal)).toEqual({ exitCode: 0, signal: null });
      expect(running.stderr).toBe('');
      expect(await readdir(folder)).toEqual([]);
    },
  );

  it('answers with JSON, and takes no writes with --read-only', async () => {
    const running = await start('mount', made.buildId, folder, '--read-only', '--json', '--connections', '2');
    await running.waitFor(/\n/);
    const device = expect.stringMatching(/^\/dev\/nbd\d+$/);
    const answer = { buildId: made.buildId, device, path: folder, readOnly: true };
    expect(JSON.parse(running.stdout)).toEqual(answer);
    await expect(writeFile(path.join(folder, 'file'), '')).rejects.toMatchObject({ code: 'EROFS' });
    expect(await running.end('SIGINT')).toEqual({ exitCode: 0, signal: null });
  });

  it('that is in use says by whom, and ends when it is not any more', async () => {
    const running = await startMount();
    const user = await startFolderUser(folder);
    const end = running.end('SIGTERM');
    await running.waitFor(
      new RegExp(`sleep \\(pid ${user.pid}\\) works in it.*two signals within 5 seconds`),
    );
    expect((await readFile(path.join(folder, 'srv/blob'))).equals(made.blob)).toBe(true);
    await user.stop();
    expect(await end).toEqual({ exitCode: 0, signal: null });
  });

  it('that is in use is forced by a second signal, and says what it left', async () => {
    const running = await startMount();
    const user = await startFolderUser(folder);
    process.kill(running.pid, 'SIGINT');
    expect(await running.end('SIGTERM')).toEqual({ exitCode: 1, signal: null });
    expect(running.stderr).toMatch(
      new RegExp(`forced ${folder} off /dev/nbd\\d+; left over: .*pid ${user.pid}`),
    );
    expect(await isMounted(folder)).toBe(false);
    await user.stop();
  });

  it('shows every operation with --log', async () => {
    const running = await startMount('--log');
    await writeFile(path.join(folder, 'file'), 'content', { flush: true });
    await running.waitFor(/^flush$/m);
    await running.end('SIGINT');
    expect(running.stderr).toMatch(/^read \d+\+\d+$/m);
    expect(running.stderr).toMatch(/^write \d+\+\d+/m);
  });

  it('passes --options on, and refuses those that the kernel does not know', async () => {
    const running = await startMount('--options', 'noatime,data=writeback');
    expect(await readFile('/proc/self/mounts', 'utf8')).toMatch(/ rw,nosuid,nodev,noatime,data=writeback /);
    await running.end('SIGINT');
    const { exitCode, error } = await runJson('mount', made.buildId, folder, '--options', 'nonsense');
    expect({ exitCode, code: error.code }).toEqual({ exitCode: 1, code: 'IO' });
  });

  it('--device-only attaches a disk that its user may mount, and keeps it until it is unmounted', async () => {
    const running = await start('mount', made.buildId, '--device-only');
    await running.waitFor(/^\/dev\/nbd\d+\n/);
    const device = running.stdout.trim();
    await execa('mount', [device, folder]);
    const end = running.end('SIGINT');
    await running.waitFor(/Cannot detach \/dev\/nbd\d+: it is mounted on/);
    expect((await readFile(path.join(folder, 'srv/blob'))).equals(made.blob)).toBe(true);
    await execa('umount', [folder]);
    expect(await end).toEqual({ exitCode: 0, signal: null });
  });

  it('ends with 1 when the kernel gives the device up', async () => {
    const running = await startMount();
    const device = running.stdout.split(' ')[0] as string;
    await execa('nbd-client', ['-d', device]);
    expect(await running.waitForExit()).toEqual({ exitCode: 1, signal: null });
    expect(running.stderr).toMatch(/the kernel gave its connections up/);
  });
});

describe('rootloom mount --verify', () => {
  const JOURNAL = '/var/log/journal/0123456789abcdef0123456789abcdef';

  const withJournal = async (damaged: boolean) => {
    const own = path.join(scratch, `damaged-${damaged}`);
    await mkdir(own);
    made = await makeMountableBuild(own, async (tree) => {
      await tree.mkdir(JOURNAL, { recursive: true });
      await tree.writeFile(`${JOURNAL}/system.journal`, makeJournalFile({ damaged }));
    });
  };

  it('mounts what is sound', async () => {
    await withJournal(false);
    const running = await startMount('--verify');
    expect(await running.end('SIGINT')).toEqual({ exitCode: 0, signal: null });
  });

  it('refuses a damaged journal', async () => {
    await withJournal(true);
    const { exitCode, error } = await runJson('mount', made.buildId, folder, '--verify');
    expect(exitCode).toBe(1);
    expect(error).toMatchObject({ code: 'CORRUPT', context: { path: `${JOURNAL}/system.journal` } });
    expect(await isMounted(folder)).toBe(false);
  });
});

describe('rootloom attach', () => {
  it('--empty lends a disk to stock tools', async () => {
    const running = await start('attach', '--empty', '--size', '32M', '--json');
    await running.waitFor(/\n/);
    const { device, size } = JSON.parse(running.stdout);
    expect(size).toBe(32 * 2 ** 20);
    await execa('mke2fs', ['-q', '-t', 'ext4', device]);
    await execa('e2fsck', ['-fn', device]);
    expect(await running.end('SIGTERM')).toEqual({ exitCode: 0, signal: null });
  });

  it('ID attaches a build, which devices shows', async () => {
    const running = await start('attach', made.buildId, '--read-only');
    await running.waitFor(/\n/);
    const device = running.stdout.trim();
    const { answer } = await runJson('devices');
    expect(answer).toContainEqual(
      expect.objectContaining({ path: device, use: 'ours', ownerPid: running.pid }),
    );
    const { stdout } = await run('devices');
    expect(stdout).toMatch(new RegExp(`^${device} +attached +64 MiB +${running.pid}$`, 'm'));
    expect(stdout).toMatch(/^15 of 16 free$/m);
    await execa('e2fsck', ['-fn', device]);
    await running.end('SIGINT');
  });
});

describe('rootloom devices --reclaim', () => {
  it('clears up after a mount that was killed, with writes under way', async () => {
    const running = await startMount();
    const device = running.stdout.split(' ')[0] as string;
    await writeFile(path.join(folder, 'file'), made.blob);
    expect(await running.end('SIGKILL')).toEqual({ exitCode: null, signal: 'SIGKILL' });
    // Its guard has the device locked for a moment.
    await expect
      .poll(async () => (await nbdDevices()).find(({ path: each }) => each === device))
      .toMatchObject({ use: 'left' });
    const { exitCode, answer } = await runJson('devices', '--reclaim');
    expect({ exitCode, answer }).toEqual({
      exitCode: 0,
      answer: { unmounted: [{ device, path: folder, lazily: false }], reclaimed: [device], inUse: [] },
    });
    await using _next = await openStore(made.storePath); // Removes what the process has left in the store.
  });

  it('unmounts lazily what is in use, and leaves the living alone', async () => {
    const other = path.join(scratch, 'other');
    await mkdir(other);
    const living = await start('mount', made.buildId, other);
    await living.waitFor(/\n/);
    const killed = await startMount();
    const user = await startFolderUser(folder);
    await killed.end('SIGKILL');
    const { answer } = await runJson('devices', '--reclaim');
    expect(answer.unmounted).toMatchObject([
      { path: folder, lazily: true, reason: expect.stringMatching(/sleep/) },
    ]);
    expect((await readFile(path.join(other, 'srv/blob'))).equals(made.blob)).toBe(true);
    await user.stop();
    expect(await living.end('SIGINT')).toEqual({ exitCode: 0, signal: null });
    await using _next = await openStore(made.storePath);
  });

  it('has nothing to do most of the time', async () => {
    expect((await run('devices', '--reclaim')).stdout).toBe('nothing to reclaim\n');
  });
});

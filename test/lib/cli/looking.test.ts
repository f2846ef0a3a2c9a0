/** The commands that look at builds: list, inspect, diff, ls, stat, cat, cp, fsck. */
import { mkdtemp, readdir, readFile, readlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { openStore } from '../../../lib/index.js';
import { buildBase } from '../../helpers/base-build.js';
import { runCli, runCliJson } from '../../helpers/cli.js';
import {
  addToImage,
  BASE_SIZE,
  BLOB_SIZE,
  makeSmallStore,
  RESIZED_SIZE,
  removeSmallStore,
  type SmallStore,
} from './small-store.js';

let store: SmallStore;
beforeAll(async () => {
  store = await makeSmallStore();
});
afterAll(() => removeSmallStore(store));

const run = (...args: string[]) => runCli(args, { store: store.path });
const runJson = (...args: string[]) => runCliJson(args, { store: store.path });

describe('list', () => {
  it('shows layers only with --all, oldest first', async () => {
    expect((await runJson('list')).answer).toEqual([]);
    const { exitCode, answer } = await runJson('list', '--all');
    expect(exitCode).toBe(0);
    expect(answer).toMatchObject([
      { buildId: store.base, phase: 'base', diskSize: BASE_SIZE, source: store.reference },
      { buildId: store.resized, phase: 'base', diskSize: RESIZED_SIZE, source: store.base },
    ]);
  });

  it('prints a table for people', async () => {
    const { exitCode, stdout, stderr } = await run('list', '--all');
    expect(exitCode).toBe(0);
    expect(stderr).toBe('');
    const [head, first, second, ...rest] = stdout.trimEnd().split('\n');
    expect(head).toMatch(/^build +phase +disk +stored +made +from$/);
    expect(first).toMatch(new RegExp(`^${store.base}  base +64 MiB `));
    expect(second).toMatch(new RegExp(`^${store.resized}  base +256 MiB .* ${store.base}$`));
    expect(rest).toEqual([]);
  });

  it('finds the store by --store, as a folder and as a URL', async () => {
    for (const url of [store.path, `file://${store.path}`, path.relative(process.cwd(), store.path)]) {
      const { answer } = await runCliJson(['list', '--all', '--store', url], { store: '/nowhere' });
      expect(answer).toHaveLength(2);
    }
  });

  it('finds nothing in a store that is not there yet, and does not make it', async () => {
    const missing = path.join(store.folder, 'missing');
    expect(await runCliJson(['list'], { store: missing })).toMatchObject({ exitCode: 0, answer: [] });
    expect(await readdir(store.folder)).not.toContain('missing');
  });
});

describe('inspect', () => {
  it('tells what a build is and where its data lies', async () => {
    const { answer } = await runJson('inspect', store.resized, '--verify');
    expect(answer).toMatchObject({
      build: { id: store.resized, phase: 'base', parentBuildId: store.base },
      disk: { size: RESIZED_SIZE, blockSize: 4096, generation: 1 },
      filesystem: { clean: true, sizeBytes: RESIZED_SIZE },
    });
    expect(answer.objects.map(({ name }: { name: string }) => name).sort()).toEqual([
      'metadata.json',
      'rootfs.ext4',
      'rootfs.ext4.header',
    ]);
    expect(answer.chain.map(({ buildId }: { buildId: string }) => buildId).sort()).toEqual(
      [store.base, store.resized].sort(),
    );
  });

  it('prints it for people', async () => {
    const { exitCode, stdout } = await run('inspect', store.resized);
    expect(exitCode).toBe(0);
    expect(stdout).toContain(`parent      ${store.base}`);
    expect(stdout).toMatch(/^disk {8}256 MiB, generation 1, \d+ mappings$/m);
    expect(stdout).toMatch(/^rootfs\.ext4\.header +\d+ +\d/m);
  });
});

describe('diff', () => {
  it('finds no difference between a disk and its resized copy', async () => {
    expect(await runJson('diff', store.base, store.resized)).toMatchObject({ exitCode: 0, answer: [] });
    expect(await run('diff', store.base, store.resized)).toMatchObject({
      exitCode: 0,
      stdout: 'no differences\n',
    });
  });

  it('names what differs, and ends with 1', async () => {
    const note = path.join(store.folder, 'note');
    await writeFile(note, 'not in the other one');
    await addToImage(store.reference, note, 'srv/secret', 'other');
    await using opened = await openStore(store.path);
    const reference = store.reference.replace(/:small$/, ':other');
    const { build } = await buildBase({ store: opened, reference, disk: { size: BASE_SIZE } });
    onTestFinished(async () => {
      await run('rm', build.id);
    });

    const { exitCode, answer } = await runJson('diff', store.base, build.id);
    expect(exitCode).toBe(1);
    expect(answer).toContainEqual({ path: '/srv/secret', what: expect.arrayContaining(['mode', 'content']) });
    const { exitCode: forPeople, stdout } = await run('diff', store.base, build.id);
    expect(forPeople).toBe(1);
    expect(stdout).toMatch(/^mode,content,.* \/srv\/secret$/m);
  });
});

describe('ls', () => {
  it('lists a folder with links resolved by name', async () => {
    const { answer } = await runJson('ls', `${store.base}:/srv`);
    for (const file of [
      { name: 'blob', type: 'file', size: BLOB_SIZE },
      { name: 'data', type: 'file', size: 300_000, linkCount: 2 },
      { name: 'link', type: 'symlink', target: 'data' },
      { name: 'second-name', type: 'file', linkCount: 2 },
      { name: 'secret', mode: 0 },
    ]) {
      expect(answer).toContainEqual(expect.objectContaining(file));
    }
    const names = answer.map(({ name }: { name: string }) => name);
    expect(names).toEqual([...names].sort());
  });

  it('prints modes and names as ls -l does', async () => {
    const { stdout } = await run('ls', `${store.base}:/srv`);
    expect(stdout).toMatch(/^-rw-r--r-- +2 +0:0 +300000 +\d{4}-\d\d-\d\dT[\d:]+\.\d{9}Z +data$/m);
    expect(stdout).toMatch(/^l.* link -> data$/m);
    expect(stdout).toMatch(/^-{10} .* secret$/m);
  });

  it('lists the root without a path, and a file by itself', async () => {
    const { answer } = await runJson('ls', `${store.base}:`);
    expect(answer.map(({ name }: { name: string }) => name)).toContain('lost+found');
    const { answer: file } = await runJson('ls', `${store.base}:etc/os-release`);
    expect(file).toMatchObject([{ name: '/etc/os-release', type: 'file' }]);
  });
});

describe('stat', () => {
  it('shows the link itself', async () => {
    const { answer } = await runJson('stat', `${store.base}:/srv/link`);
    expect(answer).toMatchObject({ path: '/srv/link', type: 'symlink', target: 'data', xattrs: [] });
    expect(answer.mtimeNs).toMatch(/^\d{19}$/);
  });

  it('prints it for people', async () => {
    const { stdout } = await run('stat', `${store.base}:/srv/secret`);
    expect(stdout).toMatch(/^mode +-{10} \(0000\)$/m);
    expect(stdout).toMatch(/^bytes +18, 4096 allocated$/m);
  });
});

describe('cat', () => {
  it('prints the content, also with --json', async () => {
    const { stdout } = await run('cat', `${store.base}:/etc/os-release`);
    expect(stdout).toBe('ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Small"\n');
    const { answer } = await runJson('cat', `${store.base}:/etc/os-release`);
    expect(answer).toEqual({
      path: '/etc/os-release',
      size: 46,
      content: Buffer.from(stdout).toString('base64'),
    });
  });

  it('prints a large file whole', async () => {
    const blob = await readFile(path.join(store.folder, 'blob'));
    const { answer } = await runJson('cat', `${store.base}:/srv/blob`);
    expect(answer.size).toBe(BLOB_SIZE);
    expect(Buffer.from(answer.content, 'base64').equals(blob)).toBe(true);
  });

  it('refuses a folder', async () => {
    const { exitCode, error } = await runJson('cat', `${store.base}:/srv`);
    expect(exitCode).toBe(1);
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', context: { path: '/srv' } });
  });
});

describe('cp', () => {
  it('copies a folder to a new name, and a file into a folder that is there', async () => {
    const target = await mkdtemp(path.join(store.folder, 'cp-'));
    const folder = path.join(target, 'srv');
    const { answer } = await runJson('cp', `${store.base}:/srv`, folder);
    const { answer: listed } = await runJson('ls', `${store.base}:/srv`);
    const bytes = listed
      .filter(({ type }: { type: string }) => type === 'file')
      .reduce((sum: number, { size }: { size: number }) => sum + size, 0);
    expect(answer).toEqual({ files: listed.length, bytes, skipped: [] });
    expect(await readlink(path.join(folder, 'link'))).toBe('data');
    expect((await readFile(path.join(folder, 'secret'))).toString()).toBe('nobody reads this\n');

    expect((await run('cp', `${store.base}:/etc/os-release`, target)).stdout).toBe('1 file, 46 bytes\n');
    expect((await readdir(target)).sort()).toEqual(['os-release', 'srv']);
  });

  it('overwrites nothing, and leaves nothing after a failure', async () => {
    const target = await mkdtemp(path.join(store.folder, 'cp-'));
    await run('cp', `${store.base}:/etc/os-release`, target);
    const { exitCode, error } = await runJson('cp', `${store.base}:/etc/os-release`, target);
    expect(exitCode).toBe(1);
    expect(error.code).toBe('INVALID_ARGUMENT');
    expect((await runJson('cp', `${store.base}:/nope`, path.join(target, 'x'))).error.code).toBe('NOT_FOUND');
    expect(await readdir(target)).toEqual(['os-release']);
  });

  it('refuses to copy into a build, which never changes', async () => {
    const { exitCode, error } = await runJson('cp', '/etc/hostname', `${store.base}:/etc/hostname`);
    expect(exitCode).toBe(2);
    expect(error.message).toMatch(/builds never change/);
  });
});

describe('fsck', () => {
  it('finds a sealed disk clean', async () => {
    expect(await runJson('fsck', store.resized)).toMatchObject({
      exitCode: 0,
      answer: { clean: true, exitBits: 0, problems: [] },
    });
    expect(await run('fsck', store.resized)).toMatchObject({
      exitCode: 0,
      stdout: `${store.resized}: clean\n`,
      stderr: '',
    });
  });
});

/** What commands do with builds that are unknown, damaged, needed or too small a wish. */
import { cp, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCli, runCliJson } from '../../helpers/cli.js';
import { BLOB_SIZE, makeSmallStore, removeSmallStore, type SmallStore } from './small-store.js';

const UNKNOWN = '0f8fad5b-d9cb-469f-a165-70867728950e';

let store: SmallStore;
beforeAll(async () => {
  store = await makeSmallStore();
});
afterAll(() => removeSmallStore(store));

/** A copy of the store to do harm to. */
async function copyStore(): Promise<{ store: string; object: (buildId: string, name: string) => string }> {
  const target = path.join(await mkdtemp(path.join(store.folder, 'copy-')), 'store');
  for (const part of ['templates', 'cache'])
    await cp(path.join(store.path, part), path.join(target, part), { recursive: true });
  return { store: target, object: (buildId, name) => path.join(target, 'templates', buildId, name) };
}

describe('an unknown build', () => {
  it.concurrent.each([
    [['inspect', UNKNOWN]],
    [['diff', UNKNOWN, UNKNOWN]],
    [['ls', `${UNKNOWN}:/`]],
    [['stat', `${UNKNOWN}:/`]],
    [['cat', `${UNKNOWN}:/`]],
    [['cp', `${UNKNOWN}:/`, 'nowhere']],
    [['fsck', UNKNOWN]],
    [['export', UNKNOWN, 'nowhere']],
    [['serve', UNKNOWN, '--socket', 'nowhere']],
    [['run', UNKNOWN, '--', 'true']],
    [['rm', UNKNOWN]],
    [['build', '--from-template', UNKNOWN]],
  ])('%j ends with 1 and NOT_FOUND, and makes nothing', async (args) => {
    const cwd = await mkdtemp(path.join(store.folder, 'cwd-'));
    const { exitCode, answer, error } = await runCliJson(args, { store: store.path, cwd });
    expect({ exitCode, answer, code: error.code }).toEqual({
      exitCode: 1,
      answer: undefined,
      code: 'NOT_FOUND',
    });
    expect(error).toMatchObject({ context: { buildId: UNKNOWN } });
    expect(await readdir(cwd)).toEqual([]);
  });
});

describe('a damaged build', () => {
  it('with a corrupt header is CORRUPT, and is listed with its problem', async () => {
    const { store: damaged, object } = await copyStore();
    const file = object(store.resized, 'rootfs.ext4.header');
    await writeFile(file, (await readFile(file)).fill(0xff, 64, 72));
    const { exitCode, error } = await runCliJson(['inspect', store.resized], { store: damaged });
    expect(exitCode).toBe(1);
    expect(error).toMatchObject({ code: 'CORRUPT', context: { buildId: store.resized } });
    const { exitCode: listed } = await runCliJson(['list', '--all'], { store: damaged });
    expect(listed).toBe(0);
    expect((await runCliJson(['fsck', store.base], { store: damaged })).exitCode).toBe(0);
  });

  it('with a truncated diff is CORRUPT, and so is what needs it', async () => {
    const { store: damaged, object } = await copyStore();
    await truncate(object(store.base, 'rootfs.ext4'), 4096);
    for (const id of [store.base, store.resized]) {
      for (const args of [
        ['inspect', id],
        ['export', id, 'raw'],
        ['ls', `${id}:/`],
      ]) {
        const cwd = await mkdtemp(path.join(store.folder, 'cwd-'));
        const { exitCode, error } = await runCliJson(args, { store: damaged, cwd });
        expect({ exitCode, code: error.code }).toEqual({ exitCode: 1, code: 'CORRUPT' });
        expect(error.message).toMatch(
          new RegExp(`of build ${store.base} has 4096 bytes, \\d+ or more are needed`),
        );
        expect(await readdir(cwd)).toEqual([]);
      }
    }
  });

  it('with broken metadata is listed with its problem, and can be removed', async () => {
    const { store: damaged, object } = await copyStore();
    await writeFile(object(store.resized, 'metadata.json'), '{"version": 2');
    const { answer } = await runCliJson(['list'], { store: damaged });
    expect(answer).toMatchObject([{ buildId: store.resized, problem: expect.stringMatching(/metadata/) }]);
    expect((await runCliJson(['inspect', store.resized], { store: damaged })).error.code).toBe('CORRUPT');
    expect((await runCliJson(['rm', store.resized], { store: damaged })).answer).toEqual({
      removed: [store.resized],
    });
  });

  it('with a broken filesystem does not pass fsck', async () => {
    const { store: damaged, object } = await copyStore();
    const file = object(store.base, 'rootfs.ext4');
    const data = await readFile(file);
    const name = data.indexOf('second-name');
    expect(name).toBeGreaterThan(0);
    await writeFile(file, data.fill('/', name, name + 1));
    const { exitCode, answer } = await runCliJson(['fsck', store.base], { store: damaged });
    expect(exitCode).toBe(1);
    expect(answer).toMatchObject({ clean: false });
    expect(answer.problems.length).toBeGreaterThan(0);
    const { exitCode: forPeople, stdout } = await runCli(['fsck', store.base], { store: damaged });
    expect(forPeople).toBe(1);
    expect(stdout).toMatch(new RegExp(`^${store.base}: \\d+ problems, e2fsck exit bits 4$`, 'm'));
  });
});

describe('rm', () => {
  it('refuses a build that others need, tells which, and says what it has removed', async () => {
    const { store: copy } = await copyStore();
    const refused = await runCliJson(['rm', store.base], { store: copy });
    expect(refused).toMatchObject({ exitCode: 1, error: { code: 'BUSY' } });
    expect(refused.error.message).toContain(store.resized);

    const partly = await runCliJson(['rm', store.resized, UNKNOWN, store.base], { store: copy });
    expect(partly).toMatchObject({
      exitCode: 1,
      answer: { removed: [store.resized] },
      error: { code: 'NOT_FOUND' },
    });
    const { stdout } = await runCli(['rm', store.base], { store: copy });
    expect(stdout).toBe(`removed ${store.base}\n`);
    expect((await runCliJson(['list', '--all'], { store: copy })).answer).toEqual([]);
  });

  it('with --unused removes the layers that nothing needs, when they are old enough', async () => {
    const { store: copy } = await copyStore();
    const removeUnused = (...more: string[]) => runCliJson(['rm', '--unused', ...more], { store: copy });
    expect((await removeUnused('--older-than', '0')).answer).toEqual({ removed: [], freedBytes: 0 });
    await runCli(['rm', store.resized], { store: copy });
    expect((await removeUnused()).answer).toEqual({ removed: [], freedBytes: 0 });
    const { answer } = await removeUnused('--older-than', '0');
    expect(answer.removed).toEqual([store.base]);
    expect(answer.freedBytes).toBeGreaterThan(BLOB_SIZE);
    const { stdout } = await runCli(['rm', '--unused'], { store: copy });
    expect(stdout).toBe('0 B freed\n');
  });

  it('with --force removes it, and breaks the other', async () => {
    const { store: copy } = await copyStore();
    expect((await runCliJson(['rm', store.base, '--force'], { store: copy })).exitCode).toBe(0);
    expect((await runCliJson(['inspect', store.resized], { store: copy })).error.code).toBe('CORRUPT');
  });
});

describe('build', () => {
  it('says the minimum when the content does not fit, and leaves nothing', async () => {
    const args = ['build', '--from-template', store.resized, '--disk-size', '16M'];
    const { exitCode, error } = await runCliJson(args, { store: store.path });
    expect({ exitCode, code: error.code }).toEqual({ exitCode: 1, code: 'TOO_SMALL' });
    expect(error.context.minimum).toBeGreaterThan(BLOB_SIZE);
    expect(await readdir(path.join(store.path, 'templates'))).toHaveLength(2);
    expect(await readdir(path.join(store.path, '.rootloom/tmp'))).toEqual(['lock']);

    const { stderr } = await runCli(args, { store: store.path });
    expect(stderr).toMatch(/^ {2}the minimum is \d+ bytes \([\d.]+ MiB\)$/m);
  });

  it('refuses a disk below the smallest before it looks for anything', async () => {
    const { exitCode, error } = await runCliJson(
      ['build', '--from-oci', 'oci:nowhere', '--disk-size', '1M'],
      { store: '/nonexistent/store' },
    );
    expect({ exitCode, code: error.code }).toEqual({ exitCode: 1, code: 'TOO_SMALL' });
    expect(error.context.minimum).toBe(16 * 1024 * 1024);
  });

  it('says what is wrong with an image', async () => {
    const build = (reference: string) =>
      runCliJson(['build', '--from-oci', reference, '--disk-size', '64M'], { store: store.path });
    expect((await build('oci:nowhere')).error.code).toBe('NOT_FOUND');
    expect((await build(`${store.reference}x`)).error.message).toMatch(
      /it has the tags small, wanted smallx/,
    );
    expect((await build('ftp:x')).error.code).toBe('UNSUPPORTED');
  });
});

describe('run', () => {
  it('refuses a build without a snapshot', async () => {
    const { exitCode, error } = await runCliJson(['run', store.base, '--', 'true'], { store: store.path });
    expect({ exitCode, code: error.code }).toEqual({ exitCode: 1, code: 'INVALID_ARGUMENT' });
    expect(error.message).toMatch(/no snapshot, a template was wanted/);
  });
});

describe('a store that cannot be', () => {
  it('is told: an object store, a file', async () => {
    const file = path.join(store.folder, 'a-file');
    await writeFile(file, '');
    expect((await runCliJson(['list', '--store', 's3://bucket'])).error.code).toBe('UNSUPPORTED');
    expect(await runCliJson(['list', '--store', file])).toMatchObject({
      exitCode: 1,
      error: { code: 'INVALID_ARGUMENT', context: { path: file } },
    });
    await rm(file);
  });
});

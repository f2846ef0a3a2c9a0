/** `rootloom build` that does not come to its end: what it shows, what it says, what it leaves. */
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RunningCli, runCli, runCliJson } from '../../helpers/cli.js';
import { makeSmallStore, removeSmallStore, type SmallStore } from './small-store.js';

/** The first one on a machine makes a kernel bundle, and tries KVM. */
const TIMEOUT_MS = 300_000;

let store: SmallStore;
beforeAll(async () => {
  store = await makeSmallStore();
});
afterAll(() => removeSmallStore(store));

const listBuilds = () => readdir(path.join(store.path, 'templates'));
const listStaging = () => readdir(path.join(store.path, '.rootloom/tmp'));
const listLayers = () => readdir(path.join(store.path, 'cache/shared/index'));

async function expectNothingLeft(): Promise<void> {
  expect((await listBuilds()).sort()).toEqual([store.base, store.resized].sort());
  expect(await listStaging()).toEqual(['lock']);
  expect(await listLayers()).toHaveLength(1);
}

describe('build of an image that provisioning does not know', () => {
  const args = (size: string) => ['build', '--from-oci', store.reference, '--disk-size', size];

  it('shows its phases as plain lines, names the reason, and leaves nothing', {
    timeout: TIMEOUT_MS,
  }, async () => {
    const { exitCode, stdout, stderr } = await runCli(args('80M'), { store: store.path });
    expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: '' });
    const lines = stderr.split('\n');
    expect(lines[0]).toBe('==> base: make the disk');
    expect(lines.filter((line) => /^ {4}apply layer \d of 2$/.test(line))).toHaveLength(2);
    expect(lines).toContainEqual(
      expect.stringMatching(/^ {4}base: make the disk \([\d.]+ s, [\d.]+ MiB stored\)$/),
    );
    expect(lines).toContain('==> provision: install what a sandbox needs');
    expect(lines).toContainEqual(
      expect.stringMatching(/^rootloom: Cannot provision .* debian, ubuntu, alpine was wanted$/),
    );
    expect(lines).toContain('  its last lines:');
    await expectNothingLeft();
  });

  it('prints its events as JSON with --events', { timeout: TIMEOUT_MS }, async () => {
    const [command = '', ...rest] = args('64M');
    const { exitCode, stderr } = await runCli([command, '--json', '--events', ...rest], {
      store: store.path,
    });
    expect(exitCode).toBe(1);
    const lines = stderr
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines[0]).toMatchObject({ event: { type: 'phase-started', phase: 'base' } });
    expect(lines[1]).toMatchObject({
      event: { type: 'phase-finished', report: { phase: 'base', cached: true, buildId: store.base } },
    });
    expect(lines.at(-1)).toMatchObject({ error: { code: 'UNSUPPORTED_DISTRIBUTION' } });
    await expectNothingLeft();
  });
});

describe('build', () => {
  it('interrupted while a guest runs ends it and leaves nothing', { timeout: TIMEOUT_MS }, async () => {
    const args = ['build', '--from-oci', store.reference, '--disk-free', '1G', '--json', '--events'];
    const running = await RunningCli.start(args, { store: store.path });
    await running.waitFor(/"step":"provision"/);
    const keeper = await running.firstChild();
    expect(await running.end('SIGTERM')).toEqual({ exitCode: 143, signal: null });
    expect(running.stdout).toBe('');
    expect(JSON.parse(running.stderr.trimEnd().split('\n').at(-1) ?? '')).toEqual({
      error: { code: 'INTERRUPTED', message: 'Interrupted by SIGTERM' },
    });
    expect(() => process.kill(keeper, 0)).toThrow(/ESRCH/);
    await expectNothingLeft();
  });

  it('from a template names a build that is not there', async () => {
    const id = '0f8fad5b-d9cb-469f-a165-70867728950e';
    const { error } = await runCliJson(['build', '--from-template', id], { store: store.path });
    expect(error).toMatchObject({ code: 'NOT_FOUND', context: { buildId: id } });
  });
});

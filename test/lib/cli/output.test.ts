/** The commands that give a disk away, and what becomes of them when they are stopped: export, serve; terminals and pipes. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, open, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RunningCli, runCli, runCliJson } from '../../helpers/cli.js';
import { CLI_FILE } from '../../helpers/compiled-library.js';
import { findChildren } from '../../helpers/processes.js';
import { startChild } from '../../helpers/temporary.js';
import { publishSlowBuild } from './slow-build.js';
import { makeSmallStore, RESIZED_SIZE, removeSmallStore, type SmallStore } from './small-store.js';

const SHOW_CURSOR = '\x1b[?25h';
const HIDE_CURSOR = '\x1b[?25l';

let store: SmallStore;
let slow: string;
beforeAll(async () => {
  store = await makeSmallStore();
  slow = await publishSlowBuild(store.path);
});
afterAll(() => removeSmallStore(store));

const makeFolder = () => mkdtemp(path.join(store.folder, 'output-'));
const listStaging = () => readdir(path.join(store.path, '.rootloom/tmp'));

/** Waits until the export has begun to write beside its target. */
async function waitForPartialFile(folder: string): Promise<void> {
  while ((await readdir(folder)).length === 0) await sleep(5);
}

describe('export', () => {
  it('writes the disk, sparse, as stock tools take it', async () => {
    const file = path.join(await makeFolder(), 'raw');
    const { answer } = await runCliJson(['export', store.resized, file], { store: store.path });
    const { size, blocks } = await stat(file);
    expect(answer).toMatchObject({ buildId: store.resized, file, size: RESIZED_SIZE });
    expect(size).toBe(RESIZED_SIZE);
    expect(blocks * 512).toBeLessThan(RESIZED_SIZE / 4);
    const environment = { PATH: `${process.env.PATH}:/usr/sbin:/sbin` };
    await execa('e2fsck', ['-fn', file], { env: environment });
  });

  it('refuses a file that is there, unless forced', async () => {
    const file = path.join(await makeFolder(), 'raw');
    await writeFile(file, 'precious');
    const { exitCode, error } = await runCliJson(['export', store.base, file], { store: store.path });
    expect({ exitCode, code: error.code }).toEqual({ exitCode: 1, code: 'INVALID_ARGUMENT' });
    expect(await readFile(file, 'utf8')).toBe('precious');
    const { stdout } = await runCli(['export', store.base, file, '--force'], { store: store.path });
    expect(stdout).toMatch(/^.*raw: 64 MiB, [\d.]+ MiB of it data\n$/);
  });

  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const)('stopped by %s ends with %i and leaves nothing', async (signal, code) => {
    const folder = await makeFolder();
    const args = ['export', slow, path.join(folder, 'raw'), '--json'];
    const running = await RunningCli.start(args, { store: store.path });
    await waitForPartialFile(folder);
    expect(await running.end(signal)).toEqual({ exitCode: code, signal: null });
    expect(running.stdout).toBe('');
    expect(JSON.parse(running.stderr)).toEqual({
      error: { code: 'INTERRUPTED', message: `Interrupted by ${signal}` },
    });
    expect(await readdir(folder)).toEqual([]);
    expect(await listStaging()).toEqual(['lock']);
  });
});

describe('a second signal', () => {
  it('of whatever kind ends a command at once', async () => {
    const child = startChild(new URL('children/hold-on.ts', import.meta.url), []);
    await child.waitFor('ready');
    child.process.kill('SIGINT');
    await child.waitFor('aborted: 130');
    child.process.kill('SIGTERM');
    await child.waitForExit();
    expect(child.process.signalCode).toBe('SIGTERM');
  });
});

describe('serve', () => {
  const serve = async (...args: string[]) => {
    const socket = path.join(await makeFolder(), 'nbd');
    const running = await RunningCli.start(['serve', ...args, '--socket', socket, '--json'], {
      store: store.path,
    });
    await running.waitFor(/\n/);
    return { running, socket, answer: JSON.parse(running.stdout) };
  };

  it('offers the disk read-only until it is interrupted, which is success', async () => {
    const { running, socket, answer } = await serve(store.resized);
    expect(answer).toEqual({
      buildId: store.resized,
      uri: `nbd+unix:///?socket=${socket}`,
      socketPath: socket,
      size: RESIZED_SIZE,
      writable: false,
    });
    const { stdout } = await execa('nbdinfo', ['--json', answer.uri]);
    expect(JSON.parse(stdout).exports[0]).toMatchObject({
      'export-size': RESIZED_SIZE,
      is_read_only: true,
    });
    expect(await running.end('SIGINT')).toEqual({ exitCode: 0, signal: null });
    expect(running.stderr).toBe('');
    expect(await readdir(path.dirname(socket))).toEqual([]);
  });

  it('--writable takes writes that never reach the build', async () => {
    const { running, answer } = await serve(store.base, '--writable');
    const pattern = (uri: string, value: string) => ['-f', 'raw', '-c', `${value} 32M 64k`, uri];
    await execa('qemu-io', pattern(answer.uri, 'write -P 0x5a'));
    await execa('qemu-io', pattern(answer.uri, 'read -P 0x5a'));
    expect(await running.end('SIGTERM')).toEqual({ exitCode: 0, signal: null });
    expect(await listStaging()).toEqual(['lock']);
    expect((await runCliJson(['inspect', store.base, '--verify'], { store: store.path })).exitCode).toBe(0);
    const again = await serve(store.base);
    await expect(execa('qemu-io', ['-r', ...pattern(again.answer.uri, 'read -P 0x5a')])).rejects.toThrow(
      /Pattern verification/,
    );
    await again.running.end('SIGINT');
  });

  it('does not take over a socket that is served, nor a file', async () => {
    const { running, socket } = await serve(store.base);
    const second = await runCliJson(['serve', store.base, '--socket', socket], { store: store.path });
    expect(second).toMatchObject({ exitCode: 1, error: { code: 'BUSY' } });
    await running.end('SIGINT');
    const file = path.join(await makeFolder(), 'file');
    await writeFile(file, 'precious');
    const third = await runCliJson(['serve', store.base, '--socket', file], { store: store.path });
    expect(third).toMatchObject({ exitCode: 1, error: { code: 'INVALID_ARGUMENT' } });
    expect(await readFile(file, 'utf8')).toBe('precious');
  });
});

describe('standard output', () => {
  it('that is closed ends a command quietly', async () => {
    const running = await RunningCli.start(['cat', `${store.base}:/srv/blob`], { store: store.path });
    await running.waitFor(/./s);
    running.closeOutput();
    expect(await running.waitForExit()).toEqual({ exitCode: 0, signal: null });
    expect(running.stderr).toBe('');
  });

  it('that is full is a failure', async () => {
    await using full = await open('/dev/full', 'w');
    const child = spawn(process.execPath, [CLI_FILE, 'list', '--all', '--json'], {
      env: { ...process.env, ROOTLOOM_STORE: store.path },
      stdio: ['ignore', full.fd, 'pipe'],
    });
    let stderr = '';
    child.stderr?.on('data', (text) => {
      stderr += text;
    });
    await once(child, 'close');
    expect(child.exitCode).toBe(1);
    expect(JSON.parse(stderr).error).toMatchObject({ code: 'NO_SPACE' });
  });
});

describe('on a terminal', () => {
  it('a long command shows live progress; interrupted it clears that away and says so', async () => {
    const folder = await makeFolder();
    const args = ['export', slow, path.join(folder, 'raw')];
    const terminal = await RunningCli.startOnTerminal(args, { store: store.path });
    await terminal.waitFor(/export: [\d.]+ [KMG]iB of 512 GiB/);
    const [command] = await findChildren(terminal.pid);
    process.kill(command as number, 'SIGINT');
    expect((await terminal.waitForExit()).exitCode).toBe(130);
    const { stdout: screen } = terminal;
    expect(screen).toContain(`export ${slow}`);
    expect(screen).toContain('rootloom: Interrupted by SIGINT\r\n');
    expect(screen.lastIndexOf(SHOW_CURSOR)).toBeGreaterThan(screen.lastIndexOf(HIDE_CURSOR));
    expect(await readdir(folder)).toEqual([]);
  });
});

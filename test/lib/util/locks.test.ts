import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Beacon, probeBeacon, waitForBeaconEnd } from '../../../lib/util/beacon.js';
import { FileLock } from '../../../lib/util/file-lock.js';
import { OwnedFolder, sweepOwnedFolders } from '../../../lib/util/owned-folder.js';
import { makeScratch, startChild } from '../../helpers/temporary.js';

const HOLD = new URL('children/hold.ts', import.meta.url);
const COUNT = new URL('children/count.ts', import.meta.url);

test('Beacon is alive while lit, dead when left, absent before, and its name is given once', async () => {
  const folder = await makeScratch();
  expect(await probeBeacon(folder, 'b')).toBe('absent');
  const beacon = await Beacon.light(folder, 'b');
  expect(await probeBeacon(folder, 'b')).toBe('alive');
  expect(await Beacon.light(folder, 'b')).toBeUndefined();
  const ended = waitForBeaconEnd(folder, 'b');
  beacon?.leave();
  await ended;
  expect(await probeBeacon(folder, 'b')).toBe('dead');
  expect(await Beacon.light(folder, 'b')).toBeUndefined();
  expect(await readdir(folder)).toEqual(['b']);
});

test('Beacon works in a folder whose path is longer than a socket address', async () => {
  const folder = join(await makeScratch(), 'x'.repeat(200));
  await mkdir(folder);
  const beacon = await Beacon.light(folder, 'b');
  expect(await probeBeacon(folder, 'b')).toBe('alive');
  beacon?.leave();
});

test('FileLock excludes within one process, and hands over when it ends', async () => {
  const folder = join(await makeScratch(), 'lock');
  const first = await FileLock.acquire(folder);
  await expect(FileLock.acquire(folder, { wait: false })).rejects.toMatchObject({ code: 'BUSY' });
  let isHeld = false;
  const second = FileLock.acquire(folder).then((lock) => {
    isHeld = true;
    return lock;
  });
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(isHeld).toBe(false);
  first[Symbol.dispose]();
  (await second)[Symbol.dispose]();
});

test('FileLock stops waiting with the reason of its signal', async () => {
  const folder = join(await makeScratch(), 'lock');
  using _held = await FileLock.acquire(folder);
  const controller = new AbortController();
  const waiting = FileLock.acquire(folder, { signal: controller.signal });
  const reason = new Error('enough');
  setTimeout(() => controller.abort(reason), 20);
  await expect(waiting).rejects.toBe(reason);
});

test('FileLock of a killed process is free at once, and its waiter wakes up', async () => {
  const folder = join(await makeScratch(), 'lock');
  const child = startChild(HOLD, ['lock', folder]);
  await child.waitFor('held');
  await expect(FileLock.acquire(folder, { wait: false })).rejects.toMatchObject({ code: 'BUSY' });
  const waiting = FileLock.acquire(folder);
  await child.kill();
  (await waiting)[Symbol.dispose]();
});

test('FileLock holds no two owners among processes of which some die inside', async () => {
  const folder = await makeScratch();
  const lock = join(folder, 'lock');
  const counter = join(folder, 'counter');
  await writeFile(counter, '0');
  const times = 40;
  const dieAfter = [-1, 5, -1, 17, -1];
  const children = dieAfter.map((at) => startChild(COUNT, [lock, counter, String(times), String(at)]));
  await Promise.all(children.map((child) => child.waitForExit()));
  const expected = dieAfter.reduce((sum, at) => sum + (at < 0 ? times : at), 0);
  expect(Number(await readFile(counter, 'utf8'))).toBe(expected);
  using _held = await FileLock.acquire(lock, { wait: false });
  expect(await readdir(lock)).toHaveLength(1);
});

test('OwnedFolder is removed by its owner, and left alone by a sweep while the owner lives', async () => {
  const area = join(await makeScratch(), 'tmp');
  expect(await sweepOwnedFolders(area)).toBe(0);
  const folder = await OwnedFolder.create(area);
  await writeFile(join(folder.path, 'data'), 'data');
  expect(await sweepOwnedFolders(area)).toBe(0);
  expect(await readFile(join(folder.path, 'data'), 'utf8')).toBe('data');
  await folder.remove();
  await folder.remove();
  expect(await readdir(area)).toEqual(['lock']);
});

test('sweepOwnedFolders removes what killed processes left, and only that', async () => {
  const area = join(await makeScratch(), 'tmp');
  await using mine = await OwnedFolder.create(area);
  const living = startChild(HOLD, ['folder', area]);
  const killed = startChild(HOLD, ['folder', area]);
  await Promise.all([living.waitFor('held'), killed.waitFor('held')]);
  living.process.kill('SIGSTOP'); // Stopped is not dead.
  await killed.kill();
  expect(await sweepOwnedFolders(area)).toBe(1);
  const left = (await readdir(area)).filter((name) => name !== 'lock');
  expect(left).toHaveLength(2);
  expect(left).toContain(mine.path.slice(area.length + 1));
  expect(await sweepOwnedFolders(area)).toBe(0);
  await living.kill();
  expect(await sweepOwnedFolders(area)).toBe(1);
});

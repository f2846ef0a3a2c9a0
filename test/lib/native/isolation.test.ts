import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { createFaultyDevice, createLoggingDevice } from '../../../lib/native/device-doubles.js';
import { ext4 } from '../../../lib/native/ext4.js';
import { ISOLATIONS } from '../../../lib/native/isolation.js';
import { rebuildDisk } from '../../../lib/native/rebuild.js';
import { sleep } from '../../../lib/util/abort.js';
import { IDENTITY, makeFilesystem } from '../../helpers/made-filesystem.js';
import { findProcesses } from '../../helpers/processes.js';
import { makeScratch } from '../../helpers/temporary.js';

const MIB = 2 ** 20;

describe('isolation', () => {
  test('is where every operation gives what it gives in this process', async () => {
    await using here = await makeFilesystem(64 * MIB);
    await using there = await makeFilesystem(64 * MIB);
    const none = { isolation: 'none' } as const;
    expect(await ext4.stats(there)).toEqual(await ext4.stats(here, none));
    const request = { size: 64 * MIB, time: IDENTITY.time };
    expect(await ext4.resize(there, request)).toEqual(await ext4.resize(here, request, none));
    expect(await ext4.fsck(there)).toEqual(await ext4.fsck(here, {}, none));
    expect(await ext4.minimumSize(there)).toBe(await ext4.minimumSize(here, none));
    expect(await ext4.replayJournal(there)).toMatchObject({ replayed: false, problems: [] });
    const bytes = await there.read(0, there.size);
    expect(bytes.equals(await here.read(0, here.size))).toBe(true);
  });

  test('keeps changes back until the engine has succeeded', async () => {
    await using inner = await makeFilesystem(64 * MIB);
    await using device = createFaultyDevice(inner, { faults: [{ operation: 'read', skip: 4, errno: 5 }] });
    await using logged = createLoggingDevice(device);
    const resized = ext4.resize(logged, { size: 64 * MIB });
    await expect(resized).rejects.toMatchObject({ code: 'IO', context: { errno: 5 } });
    expect(logged.counts().write.calls).toBe(0);
  });

  test('ends with the signal that the caller gave', async () => {
    await using inner = await makeFilesystem(64 * MIB);
    await using slow = createFaultyDevice(inner, { faults: [{ operation: 'read', delayMs: 30 }] });
    const reason = new Error('enough');
    const abort = new AbortController();
    setTimeout(() => abort.abort(reason), 100);
    await expect(ext4.fsck(slow, {}, { signal: abort.signal })).rejects.toBe(reason);
  });

  test.each(ISOLATIONS)('is "%s" for a rebuild, too', async (isolation) => {
    const upperPath = path.join(await makeScratch(), 'upper');
    await using inner = await makeFilesystem(64 * MIB);
    await using slow = createFaultyDevice(inner, {
      faults: [{ operation: 'read', skip: 4, count: 1, delayMs: 500 }],
    });
    const rebuild = rebuildDisk(slow, { size: 64 * MIB, upperPath }, { isolation });
    while (slow.hitCount() === 0) await sleep(5);
    const helpers = await findProcesses(`rootloom-ext4\0${process.pid}\0`);
    const { overlay } = await rebuild;
    await overlay.close();
    expect(helpers).toHaveLength(isolation === 'process' ? 1 : 0);
  });

  test('leaves the children of Node to Node', async () => {
    await using device = await makeFilesystem(64 * MIB);
    const children = Array.from({ length: 8 }, () => spawn('true'));
    const ends = Promise.all(children.map((child) => once(child, 'exit')));
    await Promise.all(Array.from({ length: 8 }, () => ext4.stats(device)));
    expect((await ends).map(([code]) => code)).toEqual(Array(8).fill(0));
  });
});

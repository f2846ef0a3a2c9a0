/** Trees that a helper process has open: how long it lives, and what becomes of them without it. */
import { afterEach, describe, expect, test } from 'vitest';
import { createFaultyDevice } from '../../../lib/native/device-doubles.js';
import { openTree } from '../../../lib/native/ext4-tree.js';
import { makeFilesystem } from '../../helpers/made-filesystem.js';
import { findProcesses } from '../../helpers/processes.js';

const helpers = () => findProcesses(`rootloom-ext4\0${process.pid}\0`);

async function onlyHelper(): Promise<number> {
  const found = await helpers();
  expect(found).toHaveLength(1);
  return found[0] as number;
}

afterEach(async () => {
  expect(await helpers()).toEqual([]);
});

describe('a helper', () => {
  test('has a tree open until it is closed, unless there is to be none', async () => {
    await using device = await makeFilesystem();
    const tree = await openTree(device);
    await onlyHelper();
    await tree.close();
    expect(await helpers()).toEqual([]);
    await using here = await openTree(device, { isolation: 'none' });
    expect(await helpers()).toEqual([]);
    expect(await here.list('/')).toMatchObject([{ name: 'lost+found' }]);
  });

  test('that is killed is an error from then on, and the disk is as it was flushed', async () => {
    await using device = await makeFilesystem();
    const tree = await openTree(device, { writable: true });
    await tree.writeFile('/kept', 'kept');
    await tree.flush();
    const before = await device.read(0, device.size);
    await tree.writeFile('/lost', 'lost');
    process.kill(await onlyHelper(), 'SIGKILL');
    const crashed = { code: 'ENGINE_CRASHED', context: { path: device.name } };
    await expect(tree.stat('/kept')).rejects.toMatchObject(crashed);
    await expect(tree.writeFile('/more', 'more')).rejects.toMatchObject(crashed);
    await expect(tree.flush()).rejects.toMatchObject(crashed);
    await tree.close();
    await expect(tree.stat('/kept')).rejects.toMatchObject({ code: 'CLOSED' });
    expect((await device.read(0, device.size)).equals(before)).toBe(true);
  });

  test('that hangs holds up neither an abort nor the end', async () => {
    await using device = await makeFilesystem();
    for (const writable of [false, true]) {
      const tree = await openTree(device, { writable });
      process.kill(await onlyHelper(), 'SIGSTOP');
      const abort = new AbortController();
      const reason = new Error('enough');
      const stat = tree.stat('/', { signal: abort.signal });
      abort.abort(reason);
      await expect(stat).rejects.toBe(reason);
      const closed = tree.close();
      // What was written before might not have got to the disk.
      if (writable) await expect(closed).rejects.toMatchObject({ code: 'ENGINE_CRASHED' });
      else await closed;
    }
  });
});

describe('openTree', () => {
  test('of a disk that hangs ends with the signal', async () => {
    await using inner = await makeFilesystem();
    await using slow = createFaultyDevice(inner, {
      faults: [{ operation: 'read', count: 1, delayMs: 1000 }],
    });
    const abort = new AbortController();
    const reason = new Error('enough');
    const opened = openTree(slow, { signal: abort.signal });
    setTimeout(() => abort.abort(reason), 50);
    await expect(opened).rejects.toBe(reason);
  });

  test('refuses an isolation that is none', async () => {
    await using device = await makeFilesystem();
    await expect(openTree(device, { isolation: 'some' as 'none' })).rejects.toThrow(TypeError);
  });
});

import { readdir } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { emptyDevice } from '../../../lib/native/empty-device.js';
import { makeScratch } from '../../helpers/temporary.js';

describe('emptyDevice', () => {
  it('is writable, reads as zeros, and shows nothing in its folder', async () => {
    const folder = await makeScratch();
    await using device = await emptyDevice(2 ** 40, { folder, blockSize: 512 });
    expect(device).toMatchObject({ size: 2 ** 40, blockSize: 512, writable: true });
    expect(await readdir(folder)).toEqual([]);
    await device.write(2 ** 39, Buffer.from('content'));
    expect((await device.read(2 ** 39, 8)).toString()).toBe('content\0');
    expect(device.dirtyBytes()).toBe(512);
    expect(await readdir(folder)).toEqual([]);
  });

  it('rejects when its folder is missing', async () => {
    const folder = `${await makeScratch()}/missing`;
    await expect(emptyDevice(4096, { folder })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
});

import { readdir } from 'node:fs/promises';
import { expect, onTestFinished, test, vi } from 'vitest';
import { openImage } from '../../../lib/oci/image.js';
import { makeScratch } from '../../helpers/temporary.js';
import { makeUmociLayout } from './layouts.js';
import { startRegistry } from './registry.js';

test('openImage pulls from a registry, and removes it on close', async () => {
  const layout = await makeUmociLayout();
  const { host } = await startRegistry(layout);
  const stagingDir = await makeScratch();
  const original = await openImage(layout);
  const image = await openImage(`docker://${host}/image:latest`, { stagingDir });
  expect(image.manifestDigest).toBe(original.manifestDigest);
  expect(image.layers.map(({ digest }) => digest)).toEqual(original.layers.map(({ digest }) => digest));
  await image.close();
  await using byDigest = await openImage(`docker://${host}/image@${original.manifestDigest}`, { stagingDir });
  expect(byDigest.manifestDigest).toBe(original.manifestDigest);
  await byDigest.close();
  expect(await readdir(stagingDir)).toEqual([]);
});

test('openImage gives the last lines of a pull that failed', async () => {
  const { host } = await startRegistry(await makeUmociLayout());
  const stagingDir = await makeScratch();
  const error = await openImage(`docker://${host}/image:none`, { stagingDir }).catch((error) => error);
  expect(error).toMatchObject({ code: 'IO' });
  expect(error.context.logTail.length).toBeGreaterThan(0);
  expect(await readdir(stagingDir)).toEqual([]);
});

test('openImage stops a pull that hangs, with the reason of its signal', async () => {
  const { host, requests } = await startRegistry(await makeUmociLayout(), { hang: true });
  const stagingDir = await makeScratch();
  const controller = new AbortController();
  const reason = new Error('enough');
  const opening = openImage(`docker://${host}/image:latest`, { stagingDir, signal: controller.signal });
  const blobs = () => expect(requests.filter((url) => url.includes('/blobs/')).length).toBeGreaterThan(1);
  await vi.waitFor(blobs, { timeout: 20_000 });
  controller.abort(reason);
  await expect(opening).rejects.toBe(reason);
  expect(await readdir(stagingDir)).toEqual([]);
});

test('openImage without skopeo says so', async () => {
  const stagingDir = await makeScratch();
  vi.stubEnv('PATH', stagingDir);
  onTestFinished(() => void vi.unstubAllEnvs());
  const opening = openImage('docker://image', { stagingDir });
  await expect(opening).rejects.toMatchObject({ code: 'TOOL_MISSING' });
  expect(await readdir(stagingDir)).toEqual([]);
});

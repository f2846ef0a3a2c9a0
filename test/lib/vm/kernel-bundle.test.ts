import { existsSync } from 'node:fs';
import { appendFile, cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import { beforeAll, expect, test } from 'vitest';
import { isRootloomError } from '../../../lib/errors.js';
import {
  ensureKernelBundle,
  type KernelBundle,
  makeKernelBundle,
  openKernelBundle,
} from '../../../lib/vm/kernel-bundle.js';
import { DEFAULT_KERNEL_PACKAGE } from '../../../lib/vm/kernel-source.js';
import { makeScratch } from '../../helpers/temporary.js';

let bundle: KernelBundle;

beforeAll(async () => {
  bundle = await ensureKernelBundle();
});

test('ensureKernelBundle makes a bundle of the default package, once', async () => {
  const { description } = bundle;
  expect(description.origin).toMatchObject({ kind: 'package', architecture: 'amd64' });
  expect(description.version).toMatch(/^\d+\.\d+\.\d+-.*cloud-amd64$/);
  for (const [need, user] of [
    ['virtio_ring', 'virtio'],
    ['virtio', 'virtio_mmio'],
    ['virtio', 'virtio_blk'],
  ] as const) {
    expect(description.modules.indexOf(need)).toBeLessThan(description.modules.indexOf(user));
  }
  const listing = await execa('cpio', ['--list', '--quiet'], { input: await readFile(bundle.initramfsFile) });
  expect(listing.stdout.split('\n')).toEqual(
    expect.arrayContaining(['init', 'bin/busybox', 'modules/order']),
  );
  await expect(ensureKernelBundle()).resolves.toEqual(bundle);
});

test('makeKernelBundle gives the same bytes for the same package, by name and by file', async () => {
  const folder = await makeScratch();
  const { origin } = bundle.description;
  if (origin.kind !== 'package') throw new Error('The default bundle is not of a package');
  await execa('apt-get', ['-q', 'download', `${origin.name}=${origin.version}`], { cwd: folder });
  const file = (await execa('sh', ['-c', 'echo *.deb'], { cwd: folder })).stdout;
  const outDir = path.join(folder, 'bundle');
  const again = await makeKernelBundle({ outDir, package: path.join(folder, file) });
  expect(again.description).toEqual(bundle.description);
  expect(again.digest).toBe(bundle.digest);
  for (const name of ['kernel', 'initramfs', 'kernel.json']) {
    expect(
      (await readFile(path.join(outDir, name))).equals(await readFile(path.join(bundle.path, name))),
    ).toBe(true);
  }
});

test('makeKernelBundle takes a kernel file, and reads its version', async () => {
  const outDir = path.join(await makeScratch(), 'bundle');
  const made = await makeKernelBundle({ outDir, vmlinux: bundle.kernelFile });
  expect(made.description).toMatchObject({
    version: bundle.description.version,
    modules: [],
    origin: { kind: 'file', sha256: bundle.description.kernel.sha256 },
  });
  await expect(openKernelBundle(outDir)).resolves.toEqual(made);
});

test('makeKernelBundle leaves nothing behind when it cannot', async () => {
  const folder = await makeScratch();
  const outDir = path.join(folder, 'bundle');
  const text = path.join(folder, 'text');
  await writeFile(text, 'no kernel');
  const attempts = [
    [{ vmlinux: text }, 'UNSUPPORTED'],
    [{ vmlinux: path.join(folder, 'missing') }, 'NOT_FOUND'],
    [{ vmlinux: bundle.kernelFile, modulesDir: folder }, 'NOT_FOUND'],
    [{ vmlinux: bundle.kernelFile, busybox: process.execPath }, 'TOOL_MISSING'],
    [{ package: 'rootloom-has-no-such-package' }, 'NOT_FOUND'],
  ] as const;
  for (const [options, code] of attempts) {
    await expect(makeKernelBundle({ outDir, ...options })).rejects.toSatisfy((error) =>
      isRootloomError(error, code),
    );
    expect(existsSync(outDir)).toBe(false);
  }
  const signal = AbortSignal.abort('enough');
  await expect(makeKernelBundle({ outDir, signal })).rejects.toBe('enough');
  expect(existsSync(outDir)).toBe(false);
});

test('makeKernelBundle does not write into a folder that has something in it', async () => {
  const outDir = await makeScratch();
  await writeFile(path.join(outDir, 'mine'), '');
  await expect(makeKernelBundle({ outDir })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  expect(existsSync(path.join(outDir, 'mine'))).toBe(true);
});

test('openKernelBundle finds what is missing, damaged or of another format', async () => {
  const folder = path.join(await makeScratch(), 'bundle');
  await expect(openKernelBundle(folder)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await cp(bundle.path, folder, { recursive: true });
  await appendFile(path.join(folder, 'initramfs'), '!');
  await expect(openKernelBundle(folder)).rejects.toMatchObject({ code: 'CORRUPT' });
  await rm(path.join(folder, 'initramfs'));
  await expect(openKernelBundle(folder)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await writeFile(path.join(folder, 'kernel.json'), '{"formatVersion":9}');
  await expect(openKernelBundle(folder)).rejects.toMatchObject({ code: 'CORRUPT' });
});

test('ensureKernelBundle makes a damaged one again, for all who ask at once', async () => {
  const cacheDir = await makeScratch();
  const folder = path.join(cacheDir, path.basename(bundle.path));
  await mkdir(folder);
  await cp(bundle.path, folder, { recursive: true });
  await writeFile(path.join(folder, 'kernel'), 'damaged');
  const bundles = await Promise.all([1, 2, 3].map(() => ensureKernelBundle({ cacheDir })));
  for (const made of bundles) expect(made.digest).toBe(bundle.digest);
});

test('DEFAULT_KERNEL_PACKAGE stands for a versioned one', () => {
  expect(bundle.description.origin).not.toMatchObject({ name: DEFAULT_KERNEL_PACKAGE });
});

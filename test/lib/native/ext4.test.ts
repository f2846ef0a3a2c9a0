import { execFile, execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { constants, tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { isRootloomError, type RootloomError } from '../../../lib/errors.js';
import {
  copyDeviceToFile,
  createMemoryDevice,
  type Device,
  openFileDevice,
} from '../../../lib/native/device.js';
import { createFaultyDevice } from '../../../lib/native/device-doubles.js';
import { ext4 } from '../../../lib/native/ext4.js';
import { createOverlay } from '../../../lib/native/overlay.js';

const MIB = 1024 ** 2;
const GIB = 1024 ** 3;
const identity = {
  uuid: '01234567-89ab-cdef-0123-456789abcdef',
  hashSeed: 'fedcba98-7654-3210-fedc-ba9876543210',
  time: 1_700_000_000,
};
const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };
const run = promisify(execFile);

/** The stock e2fsck finds nothing. */
async function expectClean(image: string): Promise<void> {
  await run('e2fsck', ['-fn', image], { env });
}

async function failure(promise: Promise<unknown>): Promise<RootloomError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!isRootloomError(error)) throw new Error(`Expected a RootloomError, got ${String(error)}`);
  return error;
}

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'rootloom-ext4-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function digestOf(device: Device): Promise<string> {
  const target = path.join(folder, 'digest');
  await copyDeviceToFile(device, target);
  const digest = createHash('sha256')
    .update(await readFile(target))
    .digest('hex');
  await rm(target);
  return digest;
}

describe('ext4.mkfs', () => {
  test('makes a filesystem that the stock tools find sound, and tells its stats', async () => {
    const image = path.join(folder, 'disk');
    await using device = await openFileDevice(image, { writable: true, create: GIB });
    expect(await ext4.mkfs(device, { ...identity, label: 'rootfs' })).toBe(GIB);
    await expectClean(image);
    const stats = await ext4.stats(device);
    expect(stats).toMatchObject({
      sizeBytes: GIB,
      blockSize: 4096,
      reservedBytes: 0,
      inodeCount: 65536,
      uuid: identity.uuid,
      label: 'rootfs',
      clean: true,
      notCleanReason: '',
      needsRecovery: false,
      hasErrors: false,
      hasOrphans: false,
      createdTime: identity.time,
      mountedTime: 0,
    });
    expect(stats.usedBytes + stats.freeBytes).toBe(GIB);
    expect(stats.maxGrownBytes).toBeGreaterThanOrEqual(1000 * GIB);
    expect(stats.features).toContain('metadata_csum');
  });

  test('gives equal bytes for equal requests', async () => {
    const digests = [];
    for (const hashSeed of [identity.hashSeed, identity.hashSeed, identity.uuid]) {
      await using device = createMemoryDevice({ size: 64 * MIB });
      await ext4.mkfs(device, { ...identity, hashSeed });
      digests.push(await digestOf(device));
    }
    expect(digests[0]).toBe(digests[1]);
    expect(digests[0]).not.toBe(digests[2]);
  });

  test('refuses wrong arguments', async () => {
    await using device = createMemoryDevice({ size: 64 * MIB });
    await expect(ext4.mkfs(device, { ...identity, uuid: 'no' })).rejects.toThrow(TypeError);
    await expect(ext4.mkfs(device, { ...identity, size: -1 })).rejects.toThrow(RangeError);
    expect(await failure(ext4.mkfs(device, { ...identity, size: 65 * MIB }))).toMatchObject({
      code: 'INVALID_ARGUMENT',
    });
    const tooSmall = await failure(ext4.mkfs(device, { ...identity, size: MIB }));
    expect(tooSmall).toMatchObject({ code: 'TOO_SMALL', context: { minimum: 16 * MIB } });
  });
});

describe('ext4.resize', () => {
  test('grows on an overlay and shrinks back, with little written', async () => {
    await using base = createMemoryDevice({ size: GIB });
    await ext4.mkfs(base, identity);
    await using overlay = await createOverlay(base, { upperPath: path.join(folder, 'upper'), size: 4 * GIB });
    const grown = await ext4.resize(overlay, { size: 4 * GIB, time: identity.time });
    expect(grown).toMatchObject({ oldSize: GIB, newSize: 4 * GIB, checked: false });
    expect(grown.io.blocksRead).toBeLessThan(64);
    expect(overlay.dirtyBytes()).toBeLessThan(2 * MIB);
    const image = path.join(folder, 'image');
    await copyDeviceToFile(overlay, image);
    await expectClean(image);

    const shrunk = await ext4.resize(overlay, { size: GIB, time: identity.time });
    expect(shrunk).toMatchObject({ newSize: GIB, checked: true });
    await overlay.resize(GIB);
    await rm(image);
    await copyDeviceToFile(overlay, image);
    await expectClean(image);
    expect(await ext4.stats(overlay)).toMatchObject({ sizeBytes: GIB, clean: true });
  });

  test('says the minimum, which then works, and leaves no scratch file', async () => {
    await writeFile(path.join(folder, 'content'), Buffer.alloc(30 * MIB, 'x'));
    const image = path.join(folder, 'disk');
    execFileSync('mke2fs', ['-q', '-t', 'ext4', image, '512M'], { env });
    execFileSync('debugfs', ['-w', '-R', `write ${path.join(folder, 'content')} content`, image], {
      env,
      stdio: 'ignore',
    });
    await using device = await openFileDevice(image, { writable: true });
    const scratchFolder = path.join(folder, 'scratch');
    await run('mkdir', [scratchFolder]);
    const error = await failure(ext4.resize(device, { size: 32 * MIB }, { scratchFolder }));
    expect(error.code).toBe('TOO_SMALL');
    const minimum = error.context.minimum as number;
    expect(minimum).toBe(await ext4.minimumSize(device, { scratchFolder }));
    expect(await ext4.resize(device, { size: minimum }, { scratchFolder })).toMatchObject({ checked: true });
    await expectClean(image);
    expect(await readdir(scratchFolder)).toEqual([]);
  });

  test('rejects with the reason of its signal', async () => {
    await using device = createMemoryDevice({ size: GIB });
    await ext4.mkfs(device, { ...identity, size: 512 * MIB });
    const reason = new Error('enough');
    await expect(ext4.resize(device, { size: GIB }, { signal: AbortSignal.abort(reason) })).rejects.toBe(
      reason,
    );
  });

  test('tells the error number and place of the device that failed', async () => {
    await using inner = createMemoryDevice({ size: GIB });
    await ext4.mkfs(inner, { ...identity, size: 512 * MIB });
    await using device = createFaultyDevice(inner);
    device.arm({ operation: 'write', skip: 3, errno: constants.errno.ENOSPC });
    const error = await failure(ext4.resize(device, { size: GIB }));
    expect(error).toMatchObject({ code: 'NO_SPACE', context: { errno: constants.errno.ENOSPC } });
    expect(error.context.offset).toBeTypeOf('number');
  });
});

describe('ext4.fsck', () => {
  async function makeBroken(image: string): Promise<void> {
    const content = path.join(folder, 'content');
    await run('mkdir', ['-p', path.join(content, 'folder')]);
    await writeFile(path.join(content, 'folder', 'file'), 'text');
    await run('mke2fs', ['-q', '-t', 'ext4', '-d', content, image, '64M'], { env });
    await run('debugfs', ['-w', '-R', 'clri /folder', image], { env });
  }

  test('reports problems as data and repairs them', async () => {
    const image = path.join(folder, 'disk');
    await makeBroken(image);
    await using device = await openFileDevice(image, { writable: true });
    const found = await ext4.fsck(device);
    expect(found).toMatchObject({ exitBits: 4, clean: false, problemCount: found.problems.length });
    expect(found.problems.length).toBeGreaterThan(0);
    for (const { code, fixed } of found.problems) {
      expect(code).toMatch(/^0x[0-9a-f]{6}$/);
      expect(fixed).toBe(false);
    }
    const repaired = await ext4.fsck(device, { repair: true });
    expect(repaired.exitBits).toBe(1);
    expect(repaired.problems.some(({ fixed }) => fixed)).toBe(true);
    expect(await ext4.fsck(device)).toMatchObject({ exitBits: 0, clean: true, problems: [] });
    await expectClean(image);
  });

  test('runs for many callers at once, each with its own verdict and progress', async () => {
    const image = path.join(folder, 'disk');
    await makeBroken(image);
    await using broken = await openFileDevice(image);
    await using sound = createMemoryDevice({ size: 64 * MIB });
    await ext4.mkfs(sound, identity);
    const steps = new Set<string>();
    const verdicts = await Promise.all(
      [sound, broken, sound, broken, sound].map((device) =>
        ext4.fsck(device, {}, { onProgress: ({ step }) => steps.add(step) }),
      ),
    );
    expect(verdicts.map(({ exitBits }) => exitBits)).toEqual([0, 4, 0, 4, 0]);
    for (const step of steps) expect(step).toMatch(/^check, pass [1-5]$/);
  });

  test('prints nothing and cannot end the process', async () => {
    const image = path.join(folder, 'disk');
    await writeFile(image, Buffer.alloc(4 * MIB, 0x53));
    const library = fileURLToPath(new URL('../../../lib/native', import.meta.url));
    const program = `
      import { openFileDevice } from ${JSON.stringify(path.join(library, 'device.ts'))};
      import { ext4 } from ${JSON.stringify(path.join(library, 'ext4.ts'))};
      const device = await openFileDevice(${JSON.stringify(image)}, { writable: true });
      const { exitBits } = await ext4.fsck(device, { repair: true });
      await device.close();
      process.exitCode = exitBits === 8 ? 42 : 1;
    `;
    const script = path.join(folder, 'program.mts');
    await writeFile(script, program);
    const tsx = fileURLToPath(new URL('../../../node_modules/.bin/tsx', import.meta.url));
    const result = await run(tsx, [script]).catch(
      (error: unknown) => error as { code: number; stdout: string; stderr: string },
    );
    expect(result).toMatchObject({ code: 42, stdout: '', stderr: '' });
  });
});

describe('ext4.replayJournal', () => {
  test('replays what the journal holds, after which a resize is possible', async () => {
    const image = path.join(folder, 'disk');
    const written = path.join(folder, 'new');
    await writeFile(written, Buffer.alloc(4096, 'n'));
    await using device = await openFileDevice(image, { writable: true, create: 64 * MIB });
    await ext4.mkfs(device, { ...identity, size: 32 * MIB });
    const commands = path.join(folder, 'commands');
    await writeFile(commands, `jo\njw -b 7000 ${written}\njc\n`);
    await run('debugfs', ['-w', '-f', commands, image], { env });
    expect(await ext4.stats(device)).toMatchObject({ needsRecovery: true, clean: false });
    expect(await failure(ext4.resize(device, { size: 64 * MIB }))).toMatchObject({ code: 'UNSUPPORTED' });
    expect(await ext4.replayJournal(device)).toMatchObject({ replayed: true });
    expect(await ext4.replayJournal(device)).toMatchObject({
      replayed: false,
      problems: [],
      io: { blocksRead: 1 },
    });
    expect((await device.read(7000 * 4096, 4096)).equals(Buffer.alloc(4096, 'n'))).toBe(true);
    expect(await ext4.resize(device, { size: 64 * MIB })).toMatchObject({ newSize: 64 * MIB });
    await expectClean(image);
  });
});

test('ext4.engineVersion is at least 1.47.2', () => {
  const [major = 0, minor = 0, patch = 0] = ext4.engineVersion.split('.').map(Number);
  expect(major * 10_000 + minor * 100 + patch).toBeGreaterThanOrEqual(14_702);
});

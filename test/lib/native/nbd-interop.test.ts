/** Exports under other people's NBD clients, beyond plain copying: every option, flag, context and error that they can ask for. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { constants, tmpdir } from 'node:os';
import path from 'node:path';
import { execa } from 'execa';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openChain, sealOverlay } from '../../../lib/native/chain.js';
import { createMemoryDevice, createZeroDevice, type Device } from '../../../lib/native/device.js';
import { createFaultyDevice } from '../../../lib/native/device-doubles.js';
import { type Export, serve } from '../../../lib/native/export.js';
import { createOverlay } from '../../../lib/native/overlay.js';

const MIB = 1024 * 1024;
const SCRIPT = 'test/lib/native/interop/libnbd.py';
/** Debian's interpreter: the one that its libnbd is for. */
const PYTHON = '/usr/bin/python3';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'rootloom-interop-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const socketOf = (name: string) => path.join(folder, `${name}.sock`);

function offer(name: string, device: Device, readOnly = false): Promise<Export> {
  return serve(device, { socketPath: socketOf(name), exportName: 'disk', readOnly });
}

const buildId = (number: number) => `00000000-0000-4000-8000-00000000000${number}`;

/** A chain of three builds, each of which wrote one MiB: 1 at 0, 2 at 1, 3 at 3; between them is nothing. */
async function makeChain(): Promise<Device> {
  const diffs: Record<string, { path: string }> = {};
  let base: Device = createZeroDevice({ size: 8 * MIB });
  let parentHeader: Buffer | undefined;
  for (const [number, at] of [
    [1, 0],
    [2, 1],
    [3, 3],
  ] as const) {
    const files = {
      diffPath: path.join(folder, `${number}.diff`),
      headerPath: path.join(folder, `${number}.header`),
    };
    await using overlay = await createOverlay(base, { upperPath: path.join(folder, 'upper') });
    await overlay.write(at * MIB, Buffer.alloc(MIB, number));
    await sealOverlay(overlay, { ...files, buildId: buildId(number), parentHeader });
    await base.close();
    parentHeader = await readFile(files.headerPath);
    diffs[buildId(number)] = { path: files.diffPath };
    base = await openChain({ header: parentHeader, diffs });
  }
  return base;
}

const CHAIN_ORIGINS = [
  [MIB, buildId(1)],
  [MIB, buildId(2)],
  [MIB, null],
  [MIB, buildId(3)],
  [4 * MIB, null],
];

test('libnbd gets what it asks for, and is refused what there is not', async () => {
  await using memory = createMemoryDevice({ size: 64 * MIB });
  await using faulty = createFaultyDevice(createMemoryDevice({ size: 64 * MIB }));
  faulty.arm({ operation: 'read', count: 3, errno: constants.errno.EIO });
  await using chain = await makeChain();
  await using _memory = await offer('memory', memory);
  await using _readOnly = await offer('read-only', memory, true);
  await using _faulty = await offer('faulty', faulty);
  await using _chain = await offer('chain', chain);
  const env = {
    MEMORY: socketOf('memory'),
    READ_ONLY: socketOf('read-only'),
    FAULTY: socketOf('faulty'),
    CHAIN: socketOf('chain'),
    ORIGINS: JSON.stringify(CHAIN_ORIGINS),
  };
  const { all, exitCode } = await execa(PYTHON, [SCRIPT], { env, all: true, reject: false });
  expect(exitCode, all).toBe(0);
  const checks = (await readFile(SCRIPT, 'utf8')).match(/^CHECKS = \[\n((?: {4}\w+,\n)+)\]/m)?.[1] ?? '';
  expect(all.split('\n')).toEqual(
    checks
      .split('\n')
      .map((line) => line.trim().replace(/,$/, ''))
      .filter(Boolean),
  );
});

test('nbdinfo maps a chain by the build that each range comes from', async () => {
  await using chain = await makeChain();
  await using served = await offer('chain', chain);
  const { stdout } = await execa('nbdinfo', ['--map=rootloom:origin', '--json', served.uri]);
  const map = JSON.parse(stdout) as { offset: number; length: number; type: number }[];
  expect(map.map(({ offset }) => offset / MIB)).toEqual([0, 1, 2, 3, 4]);
  expect(map.map(({ type }) => type === 0)).toEqual([false, false, true, false, true]);
  expect(new Set(map.map(({ type }) => type)).size).toBe(4);
});

test('qemu-img is told that there is no TLS, and goes on without', async () => {
  await using memory = createMemoryDevice({ size: MIB });
  await using served = await offer('memory', memory);
  const object = `tls-creds-psk,id=tls,dir=${folder},endpoint=client`;
  const image = `driver=nbd,server.type=unix,server.path=${served.socketPath},export=disk,tls-creds=tls`;
  await execa('sh', ['-c', `echo qemu:00112233 > ${folder}/keys.psk`]);
  const refused = await execa('qemu-img', ['info', '--object', object, '--image-opts', image], {
    reject: false,
  });
  expect(refused.exitCode).not.toBe(0);
  expect(refused.stderr).toMatch(/TLS|tls/);
  const { stdout } = await execa('qemu-img', ['info', '--output=json', served.uri]);
  expect(JSON.parse(stdout)).toMatchObject({ 'virtual-size': MIB });
});

test('nbdcopy over many connections carries a sparse disk', async () => {
  await using source = createMemoryDevice({ size: 64 * MIB });
  await using target = createMemoryDevice({ size: 64 * MIB });
  for (let index = 0; index < 64; index += 3) {
    await source.write(index * MIB + index * 4096, Buffer.alloc(70_000, index + 1));
  }
  await using from = await offer('from', source);
  await using to = await offer('to', target);
  await execa('nbdcopy', ['--connections=4', '--requests=32', from.uri, to.uri]);
  expect((await target.read(0, 64 * MIB)).equals(await source.read(0, 64 * MIB))).toBe(true);
  expect(await target.extents(0, 64 * MIB)).toEqual(await source.extents(0, 64 * MIB));
});

test('a client that connects after a resize sees the new size', async () => {
  await using base = createZeroDevice({ size: 8 * MIB });
  await using overlay = await createOverlay(base, { upperPath: path.join(folder, 'upper') });
  await using served = await offer('overlay', overlay);
  const sizeOf = async () => Number((await execa('nbdinfo', ['--size', served.uri])).stdout);
  expect(await sizeOf()).toBe(8 * MIB);
  await overlay.resize(24 * MIB);
  expect(await sizeOf()).toBe(24 * MIB);
  await execa('qemu-io', ['-f', 'raw', '-c', 'write -P 7 23M 1M', '-c', 'read -P 7 23M 1M', served.uri]);
});

import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { execa } from 'execa';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  createMemoryDevice,
  createZeroDevice,
  type Device,
  openFileDevice,
} from '../../../lib/native/device.js';
import { createLoggingDevice } from '../../../lib/native/device-doubles.js';
import { type Export, MAX_SOCKET_PATH_BYTES, serve } from '../../../lib/native/export.js';

const MIB = 1024 * 1024;

let folder: string;
let socketPath: string;

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'rootloom-export-'));
  socketPath = path.join(folder, 'disk.sock');
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

/** A client that connects, waits for the server's greeting, and does nothing else. */
async function connectIdleClient(at: string) {
  const socket = connect(at);
  await new Promise((resolve, reject) => {
    socket.once('data', resolve);
    socket.once('error', reject);
  });
  const ended = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  return { socket, ended };
}

describe('serve', () => {
  test('offers a device that nbdinfo describes', async () => {
    await using device = createMemoryDevice({ size: 64 * MIB });
    await using served = await serve(device, { socketPath, exportName: 'a disk/ü' });
    expect(served.socketPath).toBe(socketPath);
    expect(served.uri).toBe(`nbd+unix:///a%20disk%2F%C3%BC?socket=${socketPath}`);
    const { stdout } = await execa('nbdinfo', ['--json', served.uri]);
    const described = JSON.parse(stdout);
    expect(described).toMatchObject({ protocol: 'newstyle-fixed', TLS: false, structured: true });
    expect(described.exports[0]).toMatchObject({
      'export-name': 'a disk/ü',
      'export-size': 64 * MIB,
      contexts: ['base:allocation'],
      is_read_only: false,
      can_cache: true,
      can_df: true,
      can_fast_zero: true,
      can_flush: true,
      can_fua: true,
      can_multi_conn: true,
      can_trim: true,
      can_zero: true,
      block_size_minimum: 1,
      block_size_preferred: 4096,
      block_size_maximum: 32 * MIB,
    });
  });

  test('makes a private socket file and removes it', async () => {
    await using device = createZeroDevice({ size: MIB });
    const served = await serve(device, { socketPath });
    expect((await stat(socketPath)).mode & 0o7777).toBe(0o600);
    expect(await readdir(folder)).toEqual(['disk.sock']);
    await served.close();
    expect(await readdir(folder)).toEqual([]);
  });

  test('serves a device that is not writable, or was asked to be kept, read-only', async () => {
    await using zeros = createZeroDevice({ size: MIB });
    await using memory = createMemoryDevice({ size: MIB });
    await using first = await serve(zeros, { socketPath });
    await using second = await serve(memory, { socketPath: `${socketPath}.2`, readOnly: true });
    for (const served of [first, second]) {
      const { stdout } = await execa('nbdinfo', ['--json', served.uri]);
      expect(JSON.parse(stdout).exports[0].is_read_only).toBe(true);
    }
  });

  test('rejects with BUSY when somebody listens there, and leaves them alone', async () => {
    await using device = createMemoryDevice({ size: MIB });
    await using served = await serve(device, { socketPath });
    await expect(serve(device, { socketPath })).rejects.toMatchObject({
      code: 'BUSY',
      context: { path: socketPath },
    });
    await execa('nbdinfo', ['--size', served.uri]);
  });

  test('rejects paths that cannot be listened on', async () => {
    await using device = createMemoryDevice({ size: MIB });
    await writeFile(path.join(folder, 'file'), 'precious');
    const long = path.join(folder, 'x'.repeat(MAX_SOCKET_PATH_BYTES - folder.length));
    await expect(serve(device, { socketPath: long })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    await expect(serve(device, { socketPath: path.join(folder, 'file') })).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
    });
    await expect(serve(device, { socketPath: path.join(folder, 'no', 's') })).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
    expect(await readdir(folder)).toEqual(['file']);
  });

  test('rejects with the reason of an aborted signal', async () => {
    await using device = createMemoryDevice({ size: MIB });
    const reason = new Error('not now');
    await expect(serve(device, { socketPath, signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    const controller = new AbortController();
    const started = serve(device, { socketPath, signal: controller.signal });
    controller.abort(reason);
    const outcome = await started.catch((error: unknown) => error);
    // Whoever is first: either there is an export, or nothing is left of it.
    if (outcome === reason) expect(await readdir(folder)).toEqual([]);
    else await (outcome as Export).close();
  });

  test('rejects with CLOSED for a closed device, and outlives a device closed later', async () => {
    const device = createMemoryDevice({ size: MIB });
    const served = await serve(device, { socketPath });
    await device.close();
    await execa('nbdcopy', ['--', '[', 'nbdkit', 'pattern', '1M', ']', served.uri]);
    await served.close();
    await expect(serve(device, { socketPath })).rejects.toMatchObject({ code: 'CLOSED' });
  });
});

describe('Export', () => {
  test('counts connections and requests, also after close', async () => {
    await using device = createMemoryDevice({ size: MIB });
    const served = await serve(device, { socketPath });
    const client = await connectIdleClient(socketPath);
    expect(served.connectionCount).toBe(1);
    await execa('qemu-io', ['-f', 'raw', '-c', 'write -P 7 0 64k', '-c', 'read 0 4k', served.uri]);
    await served.close();
    await client.ended;
    const stats = served.stats();
    expect(stats.connectionCount).toBe(0);
    expect(stats.writeBytes).toBe(64 * 1024);
    expect(stats.readBytes).toBeGreaterThanOrEqual(4096);
    expect(stats.errorCount).toBe(0);
  });

  test('close hangs up on clients, and can be called again', async () => {
    await using device = createMemoryDevice({ size: MIB });
    const served = await serve(device, { socketPath });
    const client = await connectIdleClient(socketPath);
    await Promise.all([served.close(), served.close()]);
    await client.ended;
    await served.close();
    await expect(connectIdleClient(socketPath)).rejects.toThrow();
  });

  test('close flushes the device, discard does not, and the first of them decides', async () => {
    for (const [end, flushes] of [
      ['close', 1],
      ['discard', 0],
    ] as const) {
      await using inner = createMemoryDevice({ size: MIB });
      await using device = createLoggingDevice(inner);
      const served = await serve(device, { socketPath });
      await served[end]();
      await Promise.all([served.discard(), served.close()]);
      expect(device.counts().flush.calls).toBe(flushes);
    }
  });

  test('close stops a client that is copying, and the device stays usable', async () => {
    await using device = createMemoryDevice({ size: 1024 * MIB });
    const served = await serve(device, { socketPath });
    const copying = execa('nbdcopy', ['--', '[', 'nbdkit', 'pattern', '1G', ']', served.uri], {
      reject: false,
    });
    while (served.stats().writeCount === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    await served.close();
    expect((await copying).failed).toBe(true);
    const wrote = served.stats().writeBytes;
    expect(wrote).toBeGreaterThan(0);
    expect((await device.read(0, 16)).length).toBe(16);
  });
});

describe('real clients', () => {
  /** A device of 64 MiB over a sparse file, for clients to work on. */
  async function withFile(body: (device: Device, served: Export) => Promise<void>): Promise<void> {
    await using device = await openFileDevice(path.join(folder, 'disk.raw'), { create: 64 * MIB });
    await using served = await serve(device, { socketPath });
    await body(device, served);
  }

  test('nbdcopy gets back what it put, and sees the holes', async () => {
    await withFile(async (device, served) => {
      const source = path.join(folder, 'source.raw');
      const copy = path.join(folder, 'copy.raw');
      await using image = await openFileDevice(source, { create: 64 * MIB });
      for (const offset of [0, 5 * MIB + 512, 63 * MIB]) {
        await image.write(offset, Buffer.alloc(300_000, `${offset}:`));
      }
      await image.flush();
      await execa('nbdcopy', ['--flush', source, served.uri]);
      await execa('nbdcopy', [served.uri, copy]);
      await execa('cmp', [source, copy]);
      const { stdout } = await execa('nbdinfo', ['--map', '--json', served.uri]);
      const map = JSON.parse(stdout) as { offset: number; length: number; type: number }[];
      expect(map.reduce((sum, { length }) => sum + length, 0)).toBe(device.size);
      const data = map.filter(({ type }) => type === 0).reduce((sum, { length }) => sum + length, 0);
      expect(data).toBeGreaterThanOrEqual(900_000);
      expect(data).toBeLessThan(4 * MIB);
      expect(map.some(({ type }) => type === 3)).toBe(true);
    });
  });

  test('qemu-img describes, fills and compares it', async () => {
    await withFile(async (_device, served) => {
      const image = path.join(folder, 'image.qcow2');
      await execa('qemu-img', ['create', '-q', '-f', 'qcow2', image, '64M']);
      await execa('qemu-io', ['-c', 'write -P 17 1M 3M', '-c', 'write -P 34 40M 1M', image]);
      const info = await execa('qemu-img', ['info', '--output=json', '-f', 'raw', served.uri]);
      expect(JSON.parse(info.stdout)['virtual-size']).toBe(64 * MIB);
      await execa('qemu-img', ['convert', '-n', '-f', 'qcow2', '-O', 'raw', '-W', image, served.uri]);
      const compared = await execa('qemu-img', ['compare', '-f', 'qcow2', '-F', 'raw', image, served.uri]);
      expect(compared.stdout).toContain('identical');
    });
  });

  test('qemu-io reads the patterns that it wrote, zeroed and discarded', async () => {
    await withFile(async (device, served) => {
      const commands = [
        'write -P 1 0 1M',
        'write -P 2 1023 5',
        'write -f -P 3 4M 64k',
        'write -z 4097 8190',
        'write -z -u 512k 64k',
        'discard 768k 64k',
        'flush',
        'read -P 1 0 1023',
        'read -P 2 1023 5',
        'read -P 1 1028 3069',
        'read -P 0 4097 8190',
        'read -P 1 12287 1',
        'read -P 0 512k 64k',
        'read -P 0 768k 64k',
        'read -P 3 4M 64k',
        'aio_write -P 5 8M 16M',
        'aio_read 0 1M',
        'aio_flush',
        'read -P 5 8M 16M',
      ];
      const { stdout, stderr } = await execa('qemu-io', [
        ...['-f', 'raw'],
        ...commands.flatMap((command) => ['-c', command]),
        served.uri,
      ]);
      expect(`${stdout}${stderr}`).not.toMatch(/fail|error|mismatch/i);
      expect(await device.read(1022, 7)).toEqual(Buffer.from([1, 2, 2, 2, 2, 2, 1]));
      expect(served.stats().errorCount).toBe(0);
      expect(served.stats().flushCount).toBeGreaterThan(0);
    });
  });

  test('fio verifies what many requests at once left', async () => {
    await withFile(async (_device, served) => {
      const output = path.join(folder, 'fio.json');
      await execa('fio', [
        ...['--name=verify', '--ioengine=nbd', `--uri=${served.uri}`, '--rw=randwrite', '--iodepth=32'],
        ...[
          '--bssplit=512/20:4k/50:256k/30',
          '--size=64M',
          '--verify=crc32c',
          '--verify_fatal=1',
          '--verify_state_save=0',
        ],
        ...['--randseed=7', '--output-format=json', `--output=${output}`],
      ]);
      const report = JSON.parse(await readFile(output, 'utf8'));
      expect(report.jobs[0].error).toBe(0);
      expect(report.jobs[0].read.io_bytes).toBeGreaterThan(32 * MIB);
    });
  });
});

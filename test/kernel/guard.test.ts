/**
 * What a server that is killed leaves attached by netlink: its guard disconnects it, so that nobody waits for `timeoutSeconds`,
 * which is 90 here. And guards go when they are not needed any more.
 */
import { readdir, readFile, readlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type Attachment, attach, createMemoryDevice, nbdDevices } from '../../lib/index.js';
import { findProcesses } from '../helpers/processes.js';
import { makeScratch, startChild } from '../helpers/temporary.js';

const MIB = 1024 ** 2;
const SERVER = new URL('./children/serve-stuck.ts', import.meta.url);
/** The dead-connection time-out, and what a slow machine takes for the rest. */
const LIMIT_MS = 3000 + 7000;

const guards = () => findProcesses('rootloom-guard');
/** One that has just been started is not to be found by its name yet. */
const expectGuards = (count: number) => expect.poll(guards, { timeout: 20_000 }).toHaveLength(count);

async function startServer(connections: number, ...file: string[]) {
  const child = startChild(SERVER, [`${connections}`, ...file]);
  await child.waitFor('attached');
  return { child, device: child.lines[0] as string };
}

/** With an old file of 4 MiB in it, of which nothing is cached. */
async function mountFilesystem(device: string, folder: string): Promise<void> {
  await execa('mke2fs', ['-q', '-t', 'ext4', '-E', 'lazy_itable_init=0,lazy_journal_init=0', device]);
  await execa('mount', [device, folder]);
  onTestFinished(async () => {
    await execa('umount', ['-q', '-l', folder], { reject: false });
  });
  await writeFile(path.join(folder, 'old'), Buffer.alloc(4 * MIB, 1));
  await execa('sync', ['-f', folder]);
  await execa('sh', ['-c', 'echo 3 >/proc/sys/vm/drop_caches']);
}

/** How many reads and writes the kernel has sent and waits for. */
async function inFlight(device: string): Promise<number[]> {
  const text = await readFile(`/sys/block/${path.basename(device)}/inflight`, 'utf8');
  return text.trim().split(/\s+/).map(Number);
}

async function expectFree(device: string): Promise<void> {
  const state = async () => (await nbdDevices()).find((each) => each.path === device);
  await expect.poll(state, { timeout: 20_000 }).toMatchObject({ use: 'free', connected: false, size: 0 });
  await expect.poll(guards, { timeout: 20_000 }).toEqual([]);
}

describe('a server that is killed while requests are in flight', () => {
  it.each([1, 4])(
    'leaves errors for all who wait, and a device to be freed: %i connections',
    async (connections) => {
      const { child, device } = await startServer(connections);
      const folder = await makeScratch();
      await mountFilesystem(device, folder);
      child.process.kill('SIGUSR2');
      await child.waitFor('stuck');
      const run = (...args: string[]) => execa('dd', ['bs=64k', 'count=16', ...args], { reject: false });
      const waiting = Promise.all([
        run(`if=${folder}/old`, 'of=/dev/null', 'iflag=direct'),
        run(`if=${folder}/old`, 'of=/dev/null', 'skip=32'),
        run('if=/dev/zero', `of=${device}`, 'oflag=direct', 'seek=512'),
        run('if=/dev/zero', `of=${folder}/old`, 'conv=notrunc,fsync'),
      ]);
      await expect
        .poll(async () => (await inFlight(device)).every((count) => count > 0), { timeout: 60_000 })
        .toBe(true);
      const killed = Date.now();
      await child.kill();
      for (const { exitCode, stderr } of await waiting) {
        expect({ exitCode, stderr }).toMatchObject({
          exitCode: 1,
          stderr: expect.stringMatching(/error|space|file system/i),
        });
      }
      const later = await run(`if=${device}`, 'of=/dev/null', 'iflag=direct', 'skip=64');
      expect(later.exitCode).toBe(1);
      const took = Date.now() - killed;
      console.log(`all had their errors after ${took} ms`);
      expect(took).toBeLessThan(LIMIT_MS);
      await execa('umount', [folder]);
      await expectFree(device);
    },
  );

  it('can end itself, when it waits for its own mount', async () => {
    const folder = await makeScratch();
    const { child, device } = await startServer(1, path.join(folder, 'old'));
    await mountFilesystem(device, folder);
    child.process.kill('SIGUSR2');
    await child.waitFor('stuck');
    await expect.poll(async () => (await inFlight(device))[0], { timeout: 60_000 }).toBeGreaterThan(0);
    const killed = Date.now();
    await child.kill();
    expect(Date.now() - killed).toBeLessThan(LIMIT_MS);
    await execa('umount', [folder]);
    await expectFree(device);
  });

  it('takes along nothing that another process attached', async () => {
    await using memory = createMemoryDevice({ size: MIB });
    await using attachment = await attach(memory);
    const { child, device } = await startServer(1);
    await expectGuards(2);
    await child.kill();
    await expectGuards(1);
    await execa('dd', ['if=/dev/zero', `of=${attachment.path}`, 'bs=64k', 'count=16', 'oflag=direct']);
    expect(attachment.lost.aborted).toBe(false);
    await attachment.close();
    await expectFree(device);
  });
});

describe('the guard', () => {
  it('is one for all attachments of a process, and goes with the last', async () => {
    await using memory = createMemoryDevice({ size: MIB });
    const attachments: Attachment[] = [];
    for (let count = 0; count < 3; count += 1) attachments.push(await attach(memory, { readOnly: true }));
    await expectGuards(1);
    for (const attachment of attachments.splice(1)) await attachment.close();
    await expectGuards(1);
    await attachments[0]?.close();
    expect(await guards()).toEqual([]);
  });

  it('is not needed by ioctl', async () => {
    await using memory = createMemoryDevice({ size: MIB });
    await using attachment = await attach(memory, { mechanism: 'ioctl' });
    expect(attachment.mechanism).toBe('ioctl');
    expect(await guards()).toEqual([]);
  });

  it('is gone after each of 100 attachments', async () => {
    await using memory = createMemoryDevice({ size: MIB });
    for (let round = 0; round < 100; round += 1) {
      const attachment = await attach(memory);
      await attachment.discard();
      expect(await guards()).toEqual([]);
    }
  });

  it('holds nothing of its owner: neither its folder nor its descriptors', async () => {
    await using memory = createMemoryDevice({ size: MIB });
    await using attachment = await attach(memory);
    const heldByGuard = async () => {
      const [guard] = await guards();
      const proc = `/proc/${guard}`;
      return { cwd: await readlink(`${proc}/cwd`), descriptors: (await readdir(`${proc}/fd`)).length };
    };
    // When it is ready: the standard ones, its socket, and one for signals.
    await expect
      .poll(() => heldByGuard().catch(() => undefined), { timeout: 20_000 })
      .toEqual({ cwd: '/', descriptors: 5 });
    await attachment.close();
  });
});

/**
 * A server that is killed takes nobody along: I/O under way fails, and its device is taken back.
 *
 * By ioctl the kernel lets go by itself when the process ends. By netlink its guard disconnects the device. When the guard is killed,
 * too, a request that the server has taken and not answered waits for its time-out, and after it for that of dead connections;
 * or until somebody reclaims the device.
 */
import { open } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { describe, expect, it } from 'vitest';
import { attach, createMemoryDevice, nbdDevices, reclaimNbdDevices } from '../../lib/index.js';
import { findProcesses } from '../helpers/processes.js';
import { seededRandom } from '../helpers/random.js';
import { type Child, startChild } from '../helpers/temporary.js';
import { devicesInUse, format, MIB, mount } from './support/system.js';

const ROUNDS = 3;
const random = seededRandom();

interface Server {
  child: Child;
  device: string;
}

async function startServer(connections: number, mechanism: string, timeoutSeconds: number): Promise<Server> {
  const file = new URL('children/serve-slowly.ts', import.meta.url);
  const child = startChild(file, [`${connections}`, mechanism, `${timeoutSeconds}`]);
  await expect.poll(() => child.lines[0], { timeout: 60_000, interval: 20 }).toBeDefined();
  return { child, device: child.lines[0] as string };
}

/** Two programs that write past the cache; resolves with what they said when they have ended. */
function startWriters(device: string): Promise<string[]> {
  const writing = ['if=/dev/zero', `of=${device}`, 'bs=64k', 'count=1000', 'oflag=direct'];
  const writers = [0, 200].map(async (seek) => {
    const { stderr, exitCode } = await execa('dd', [...writing, `seek=${seek}`], { reject: false });
    expect(exitCode).not.toBe(0);
    return stderr;
  });
  return Promise.all(writers);
}

async function killGuards(): Promise<void> {
  const guards = await findProcesses('rootloom-guard');
  expect(guards).toHaveLength(1);
  for (const guard of guards) process.kill(guard, 'SIGKILL');
}

function expectErrors(messages: readonly string[]): void {
  for (const message of messages) expect(message).toMatch(/Input\/output error|No such device|No space left/);
}

/** What was left is free again, and can be used. */
async function expectUsable(): Promise<void> {
  await reclaimNbdDevices();
  expect(await devicesInUse()).toEqual([]);
  expect((await nbdDevices()).filter(({ use }) => use !== 'free')).toEqual([]);
  await using device = createMemoryDevice({ size: 8 * MIB });
  await using attachment = await attach(device);
  await execa('dd', ['if=/dev/urandom', `of=${attachment.path}`, 'bs=1M', 'count=1', 'oflag=direct']);
}

describe('a server that is killed while programs write to its device', () => {
  const cases = [
    { mechanism: 'netlink', timeoutSeconds: 0, how: 'by the guard' },
    { mechanism: 'netlink', timeoutSeconds: 3, how: 'by the time-outs' },
    { mechanism: 'netlink', timeoutSeconds: 0, how: 'by reclaiming' },
    { mechanism: 'ioctl', timeoutSeconds: 90, how: 'by itself' },
  ];

  it.each(cases)(
    'leaves them with errors, $how of $mechanism',
    async ({ mechanism, timeoutSeconds, how }) => {
      for (let round = 0; round < ROUNDS; round += 1) {
        const { child, device } = await startServer(1 + (round % 2), mechanism, timeoutSeconds);
        const writers = startWriters(device);
        await sleep(300 + random.next() * 700);
        if (how === 'by the time-outs' || how === 'by reclaiming') await killGuards();
        await child.kill();
        if (how === 'by reclaiming') await reclaimNbdDevices();
        expectErrors(await writers);
        await expectUsable();
      }
    },
  );
});

describe('a server that is killed while its filesystem is mounted', () => {
  it.each(['netlink', 'ioctl'])(
    'leaves one whose fsync fails, and that can be unmounted, by %s',
    async (mechanism) => {
      const { child, device } = await startServer(2, mechanism, 5);
      await format(device);
      const folder = await mount(device);
      const file = await open(`${folder}/file`, 'wx');
      await file.write(Buffer.alloc(MIB, 1));
      const synced = expect(file.sync()).rejects.toMatchObject({
        code: expect.stringMatching(/^(EIO|EROFS)$/),
      });
      await sleep(200);
      await child.kill();
      await synced;
      await file.close();
      await execa('umount', [folder]);
      await expectUsable();
    },
  );
});

/**
 * The part of the benchmark kernel-nbd that runs inside of User-Mode Linux: attaches and detaches one disk image by each peer in
 * turn, and writes what each took as JSON.
 *
 *   attach-peers ROUNDS FILE
 *
 * A disk is attached when its last block has been read from its block device. It is detached when the kernel has no connection
 * any more, and a server that was started for it has ended.
 */
import { existsSync } from 'node:fs';
import { open, truncate, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { attach, openFileDevice } from '../../lib/index.js';

const IMAGE_BYTES = 64 * 1024 ** 2;
const BLOCK_BYTES = 4096;
const IMAGE = '/tmp/image';
const SOCKET = '/tmp/socket';
const DEVICE = '/dev/nbd0';
const SERVER = ['--format=raw', `--socket=${SOCKET}`, IMAGE];

/** In milliseconds. */
export interface Times {
  attach: number;
  detach: number;
}

type Detach = () => Promise<unknown>;

async function readLastBlock(device: string): Promise<void> {
  const file = await open(device);
  await file.read(Buffer.alloc(BLOCK_BYTES), 0, BLOCK_BYTES, IMAGE_BYTES - BLOCK_BYTES);
  await file.close();
}

async function attachHere(): Promise<Detach> {
  const device = await openFileDevice(IMAGE, { writable: true });
  const attachment = await attach(device);
  await readLastBlock(attachment.path);
  return async () => {
    await attachment.close();
    await device.close();
  };
}

async function connectClient(): Promise<void> {
  await execa('nbd-client', ['-unix', SOCKET, DEVICE]);
  await readLastBlock(DEVICE);
}

async function disconnectClient(): Promise<void> {
  await execa('nbd-client', ['-d', DEVICE]);
  while (existsSync('/sys/block/nbd0/pid')) await sleep(1);
}

async function attachToNewServer(): Promise<Detach> {
  await execa('qemu-nbd', ['--fork', '--pid-file=/tmp/pid', ...SERVER]);
  await connectClient();
  return async () => {
    await disconnectClient();
    while (existsSync(SOCKET)) await sleep(1); // It goes with its last client, and takes the socket along.
  };
}

async function attachToRunningServer(): Promise<Detach> {
  await connectClient();
  return disconnectClient;
}

async function time(attachDisk: () => Promise<Detach>): Promise<Times> {
  const started = performance.now();
  const detach = await attachDisk();
  const attached = performance.now();
  await detach();
  return { attach: attached - started, detach: performance.now() - attached };
}

/** The server that some find running must not be there for the others, who use its socket. */
async function timeWithServer(): Promise<Times> {
  await execa('qemu-nbd', ['--fork', '--persistent', '--pid-file=/tmp/pid', ...SERVER]);
  const times = await time(attachToRunningServer);
  await execa('sh', ['-c', 'kill "$(cat /tmp/pid)"']);
  while (existsSync(SOCKET)) await sleep(1);
  return times;
}

const [rounds = '1', file = ''] = process.argv.slice(2);
await writeFile(IMAGE, '');
await truncate(IMAGE, IMAGE_BYTES);
const results: Record<string, Times[]> = {};
for (let round = 0; round <= Number(rounds); round += 1) {
  (results.rootloom ??= []).push(await time(attachHere));
  (results.newServer ??= []).push(await time(attachToNewServer));
  (results.runningServer ??= []).push(await timeWithServer());
}
await writeFile(file, JSON.stringify(results));

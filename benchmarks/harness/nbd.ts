/** NBD servers to compare, each a process of its own, and the clients that load them. */
import { open } from 'node:fs/promises';
import { connect } from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import type { Bench } from './bench.js';
import type { Sample } from './point.js';
import { PROGRAMS } from './programs.js';

const EXPORT = path.resolve('benchmarks/children/nbd-export.ts');
const START_MS = 30_000;
const POLL_MS = 20;

export interface NbdServer {
  socketPath: string;
  /** Whether it gives back what was written to it. */
  stores: boolean;
}

export interface Load {
  connections: number;
  depth: number;
  blockBytes: number;
  order: 'random' | 'sequential';
}

/** The servers by their name in the report. */
export const SERVERS = {
  rootloom: 'rootloom, memory',
  rootloomFile: 'rootloom, file',
  nbdkit: 'nbdkit memory',
  qemu: 'qemu-nbd, raw file',
  echo: 'bare echo, flat memory',
  constantEcho: 'bare echo, constant bytes',
} as const;
export type ServerName = keyof typeof SERVERS;

async function makeFile(bench: Bench, name: string, size: number): Promise<string> {
  const file = path.join(bench.folder, name);
  await using handle = await open(file, 'w');
  await handle.truncate(size);
  return file;
}

async function commandOf(bench: Bench, name: ServerName, socket: string, size: number): Promise<string[]> {
  const node = [process.execPath, '--import', 'tsx', EXPORT];
  const echo = [path.join(PROGRAMS, 'nbd_echo'), '--socket', socket, '--size', `${size}`, '--content'];
  switch (name) {
    case 'rootloom':
      return [...node, 'memory', socket, `${size}`];
    case 'rootloomFile':
      return [
        ...node,
        'file',
        socket,
        `${size}`,
        await makeFile(bench, `${path.basename(socket)}.img`, size),
      ];
    case 'nbdkit':
      return ['nbdkit', '--foreground', '--unix', socket, 'memory', `${size}`];
    case 'qemu': {
      const image = await makeFile(bench, `${path.basename(socket)}.img`, size);
      return ['qemu-nbd', '--persistent', '--shared=16', '--format=raw', `--socket=${socket}`, image];
    }
    case 'echo':
      return [...echo, 'flat'];
    case 'constantEcho':
      return [...echo, 'constant'];
  }
}

function isListening(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(socketPath);
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}

/** Starts a server of `size` bytes, on the named cores only if there are any, and fills it so that nothing of it is a hole. */
export async function startServer(
  bench: Bench,
  name: ServerName,
  size: number,
  cores?: string,
): Promise<NbdServer> {
  const socketPath = path.join(bench.folder, `${name}${cores === undefined ? '' : '-pinned'}.sock`);
  const command = await commandOf(bench, name, socketPath, size);
  const [program = '', ...args] =
    cores === undefined ? command : ['taskset', '--cpu-list', cores, ...command];
  const child = execa(program, args, { stdin: 'pipe', stdout: 'ignore', reject: false });
  bench.cleaner.defer(SERVERS[name], async () => {
    child.kill('SIGTERM');
    await child;
  });
  const deadline = Date.now() + START_MS;
  while (!(await isListening(socketPath))) {
    if (Date.now() > deadline || child.exitCode !== null) throw new Error(`${SERVERS[name]} does not listen`);
    await sleep(POLL_MS);
  }
  const stores = name !== 'echo' && name !== 'constantEcho';
  if (stores) await runClient({ socketPath, stores }, { order: 'fill', block: 1 << 20, depth: 8, read: 0 });
  return { socketPath, stores };
}

interface ClientResult {
  iops: number;
  bytesPerSecond: number;
  latencyUs: { mean: number; p50: number; p99: number; p999: number; max: number };
}

async function runClient(
  { socketPath }: NbdServer,
  options: Record<string, string | number>,
  cores?: string,
): Promise<ClientResult> {
  const args = Object.entries({ socket: socketPath, ...options }).flatMap(([key, value]) => [
    `--${key}`,
    `${value}`,
  ]);
  const command = [path.join(PROGRAMS, 'nbd_client'), ...args];
  const [program = '', ...rest] =
    cores === undefined ? command : ['taskset', '--cpu-list', cores, ...command];
  const { stdout } = await execa(program, rest);
  return JSON.parse(stdout) as ClientResult;
}

/** Reads with the lean client, which checks every answer; of a server that stores, also what it holds. */
export function readLean(bench: Bench, server: NbdServer, load: Load, cores?: string): Promise<ClientResult> {
  const { connections, depth, blockBytes: block, order } = load;
  const times = bench.quick ? { milliseconds: 100, warmup: 20 } : { milliseconds: 1000, warmup: 200 };
  const verify = server.stores ? 1 : 0;
  return runClient(server, { connections, depth, block, order, verify, ...times }, cores);
}

/** Writes every block of an export once, in random order, with the lean client. */
export function writeOnceLean(socketPath: string, connections: number): Promise<ClientResult> {
  return runClient({ socketPath, stores: true }, { connections, depth: 64, order: 'once', read: 0 });
}

/** Random reads with fio's nbd engine, a job and a connection each. */
export async function readWithFio(bench: Bench, server: NbdServer, load: Load): Promise<Sample> {
  const { stdout } = await execa('fio', [
    '--name=load',
    '--ioengine=nbd',
    `--uri=nbd+unix:///?socket=${server.socketPath}`,
    '--rw=randread',
    `--bs=${load.blockBytes}`,
    `--iodepth=${load.depth}`,
    `--numjobs=${load.connections}`,
    '--thread',
    '--time_based',
    `--runtime=${bench.quick ? '200ms' : '1s'}`,
    '--group_reporting',
    '--output-format=json',
  ]);
  const { jobs } = JSON.parse(stdout.slice(stdout.indexOf('{'))) as { jobs: { read: { iops: number } }[] };
  return { value: jobs[0]?.read.iops ?? 0 };
}

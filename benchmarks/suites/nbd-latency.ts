/**
 * What one request at a time costs, and what a saturated export does to the process that it runs in.
 *
 * Measures: the median time of a 4 KiB random read at depth 1, with the lean client; and the 99th percentile of the event-loop delay of a
 * Node process whose export answers 4 connections at depth 64, beside the same process at rest. Most of a lone request's time is
 * waking the other side. Does not measure: disks.
 */

import path from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { createMemoryDevice, serve } from '../../lib/index.js';
import type { Bench, Benchmark } from '../harness/bench.js';
import {
  type Load,
  type NbdServer,
  readLean,
  SERVERS,
  type ServerName,
  startServer,
} from '../harness/nbd.js';
import type { Sample } from '../harness/point.js';
import { buildPrograms } from '../harness/programs.js';

const MIB = 1024 ** 2;
const NS_PER_MS = 1e6;
const PEERS: readonly ServerName[] = ['rootloom', 'rootloomFile', 'nbdkit', 'qemu', 'echo'];
const ALONE: Load = { connections: 1, depth: 1, blockBytes: 4096, order: 'random' };
const SATURATING: Load = { connections: 4, depth: 64, blockBytes: 4096, order: 'random' };
const SATURATED = 'rootloom, saturated';

async function measureDelay(during: () => Promise<unknown>): Promise<Sample> {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  await during();
  delay.disable();
  return { value: delay.percentile(99) / NS_PER_MS };
}

async function measureEventLoop(bench: Bench): Promise<void> {
  const size = (bench.quick ? 16 : 256) * MIB;
  const device = bench.cleaner.use('the device', createMemoryDevice({ size }));
  const chunk = Buffer.alloc(MIB, 1);
  for (let offset = 0; offset < size; offset += MIB) await device.write(offset, chunk);
  const socketPath = path.join(bench.folder, 'own.sock');
  bench.cleaner.use('the export', await serve(device, { socketPath }));
  const own: NbdServer = { socketPath, stores: false };
  await bench.point({
    name: 'event-loop delay of the host process, 99th percentile',
    unit: 'ms',
    reference: 'at rest',
    goals: [{ peer: SATURATED, limit: 5 }],
    peers: {
      'at rest': () => measureDelay(() => sleep(bench.quick ? 100 : 1000)),
      [SATURATED]: () => measureDelay(() => readLean(bench, own, SATURATING)),
    },
  });
}

export const benchmark: Benchmark = {
  title: 'One request at a time over NBD, and the process around a saturated export',
  rounds: 5,
  async run(bench) {
    await buildPrograms();
    await bench.version('nbdkit', 'nbdkit', '--version');
    await bench.version('qemu-nbd', 'qemu-nbd', '--version');
    const servers = new Map<ServerName, NbdServer>();
    for (const name of PEERS)
      servers.set(name, await startServer(bench, name, (bench.quick ? 16 : 256) * MIB));
    const read = async (server: NbdServer) => ({
      value: (await readLean(bench, server, ALONE)).latencyUs.p50,
    });
    await bench.point({
      name: '4 KiB read, depth 1, median',
      unit: 'µs',
      reference: SERVERS.nbdkit,
      peers: Object.fromEntries([...servers].map(([name, server]) => [SERVERS[name], () => read(server)])),
    });
    await measureEventLoop(bench);
  },
};

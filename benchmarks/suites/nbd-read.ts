/**
 * 4 KiB random reads, 64 under way on each connection, over a unix socket.
 *
 * Measures: what a server answers in a second, at 1, 2 and 4 connections, asked by the lean client of benchmarks/native (which checks
 * every answer, and the content where the server holds any) and by fio's nbd engine; and all of it on two cores, client and server
 * together. All content is in memory and none of it is zeros. rootloom is a Node process that exports a device.
 *
 * The ceiling is the bare echo: it receives requests and sends bytes, and does nothing else. With flat memory it sends what lies at the
 * offset, which has to come from main memory as with every server of stored data; with constant bytes it sends the same 4 KiB from the
 * processor's cache every time, which is what the socket alone can do. What the one reaches of the other is what fetching costs, and no
 * server of stored data can do without it. Under fio, whose engine sends and takes one request at a time, the echo shows what the client allows.
 *
 * Does not measure: disks, chains of diffs, writing.
 */
import type { Bench, Benchmark } from '../harness/bench.js';
import {
  type Load,
  type NbdServer,
  readLean,
  readWithFio,
  SERVERS,
  type ServerName,
  startServer,
} from '../harness/nbd.js';
import type { Goal, Sample } from '../harness/point.js';
import { buildPrograms } from '../harness/programs.js';

const MIB = 1024 ** 2;
const OVER_NBDKIT: Goal = { peer: SERVERS.rootloom, of: SERVERS.nbdkit, limit: 2 };
const OF_CEILING: readonly Goal[] = [
  { peer: SERVERS.rootloom, of: SERVERS.echo, limit: 0.7 },
  { peer: SERVERS.rootloom, of: SERVERS.constantEcho, limit: 0.7 },
];
const TWO_CORES = '0,1';

type Servers = Record<ServerName, NbdServer>;

async function startAll(bench: Bench, cores?: string): Promise<Servers> {
  const size = (bench.quick ? 16 : 256) * MIB;
  const started: [string, NbdServer][] = [];
  for (const name of Object.keys(SERVERS) as ServerName[]) {
    started.push([name, await startServer(bench, name, size, cores)]);
  }
  return Object.fromEntries(started) as Servers;
}

function peersOf(servers: Servers, read: (server: NbdServer) => Promise<Sample>) {
  const names = Object.keys(SERVERS) as ServerName[];
  return Object.fromEntries(names.map((name) => [SERVERS[name], () => read(servers[name])]));
}

export const benchmark: Benchmark = {
  title: '4 KiB random reads over NBD, depth 64',
  rounds: 5,
  async run(bench) {
    await buildPrograms();
    await bench.version('nbdkit', 'nbdkit', '--version');
    await bench.version('qemu-nbd', 'qemu-nbd', '--version');
    await bench.version('fio', 'fio', '--version');
    const servers = await startAll(bench);
    const reference = SERVERS.nbdkit;
    for (const connections of [1, 2, 4]) {
      const load: Load = { connections, depth: 64, blockBytes: 4096, order: 'random' };
      const name = `${connections} connection${connections === 1 ? '' : 's'}`;
      await bench.point({
        ...{ name: `lean client, ${name}`, unit: 'IOPS', reference, goals: [OVER_NBDKIT, ...OF_CEILING] },
        peers: peersOf(servers, async (server) => ({ value: (await readLean(bench, server, load)).iops })),
      });
      await bench.point({
        ...{ name: `fio, ${name}`, unit: 'IOPS', reference, goals: [OVER_NBDKIT] },
        peers: peersOf(servers, (server) => readWithFio(bench, server, load)),
      });
    }
    const pinned = await startAll(bench, TWO_CORES);
    const load: Load = { connections: 2, depth: 64, blockBytes: 4096, order: 'random' };
    await bench.point({
      ...{ name: 'lean client, 2 connections, two cores', unit: 'IOPS', reference, goals: [OVER_NBDKIT] },
      peers: peersOf(pinned, async (server) => ({
        value: (await readLean(bench, server, load, TWO_CORES)).iops,
      })),
    });
  },
};

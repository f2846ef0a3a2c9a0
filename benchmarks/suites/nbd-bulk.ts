/**
 * 1 MiB sequential reads, 16 under way on each connection, over a unix socket.
 *
 * Measures: throughput at 1 and 2 connections, each reading its own part from front to back, with the lean client, which checks every
 * answer. All content is in memory. Does not measure: disks, chains of diffs, holes.
 */
import type { Benchmark } from '../harness/bench.js';
import {
  type Load,
  type NbdServer,
  readLean,
  SERVERS,
  type ServerName,
  startServer,
} from '../harness/nbd.js';
import { buildPrograms } from '../harness/programs.js';

const MIB = 1024 ** 2;
const PEERS: readonly ServerName[] = ['rootloom', 'rootloomFile', 'nbdkit', 'qemu', 'echo'];

export const benchmark: Benchmark = {
  title: '1 MiB sequential reads over NBD, depth 16',
  rounds: 5,
  async run(bench) {
    await buildPrograms();
    await bench.version('nbdkit', 'nbdkit', '--version');
    await bench.version('qemu-nbd', 'qemu-nbd', '--version');
    const servers = new Map<ServerName, NbdServer>();
    for (const name of PEERS)
      servers.set(name, await startServer(bench, name, (bench.quick ? 64 : 512) * MIB));
    for (const connections of [1, 2]) {
      const load: Load = { connections, depth: 16, blockBytes: MIB, order: 'sequential' };
      const read = async (server: NbdServer) => ({
        value: (await readLean(bench, server, load)).bytesPerSecond / MIB,
      });
      await bench.point({
        name: `${connections} connection${connections === 1 ? '' : 's'}`,
        unit: 'MiB/s',
        reference: SERVERS.nbdkit,
        goals: [{ peer: SERVERS.rootloom, of: SERVERS.nbdkit, limit: 1 }],
        peers: Object.fromEntries([...servers].map(([name, server]) => [SERVERS[name], () => read(server)])),
      });
    }
  },
};

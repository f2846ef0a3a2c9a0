/** Opens two exports, one of them with a client, and ends without closing them: open-exports.ts SCENARIO FOLDER. */
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Worker } from 'node:worker_threads';
import { createMemoryDevice, openFileDevice } from '../../../../lib/native/device.js';
import { serve } from '../../../../lib/native/export.js';

const [scenario, folder] = process.argv.slice(2) as [string, string];

/** Connects, and waits until the server has said something. */
async function greetedBy(name: string) {
  const client = connect(join(folder, name));
  await once(client, 'data');
  return client;
}

const device = await openFileDevice(join(folder, 'disk.raw'), { create: 1024 * 1024 });
const first = await serve(device, { socketPath: join(folder, 'a.sock') });
const second = await serve(createMemoryDevice({ size: 4096 }), { socketPath: join(folder, 'b.sock') });
const client = await greetedBy('a.sock');
client.unref();

const scenarios: Record<string, () => void | Promise<void>> = {
  'nothing left to do': () => {},
  exit: () => process.exit(7),
  error: () => {
    throw new Error('the end');
  },
  kill: () => void process.kill(process.pid, 'SIGKILL'),
  'exit while one is starting': () => {
    const socketPath = join(folder, 'c.sock');
    void serve(createMemoryDevice({ size: 4096 }), { socketPath });
    // It starts on a thread of its own; what it made has not reached JavaScript when the process ends.
    while (!existsSync(socketPath));
    process.exit(7);
  },
  collect: async () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const seen = new WeakRef(await serve(device, { socketPath: join(folder, 'c.sock') }));
    for (let i = 0; i < 10; i++) {
      await new Promise((resolve) => setImmediate(resolve));
      collect();
    }
    (await greetedBy('c.sock')).destroy();
    console.log(seen.deref() === undefined ? 'collected and served' : 'served');
  },
  worker: async () => {
    const worker = new Worker(new URL('export-worker.mjs', import.meta.url), {
      workerData: join(folder, 'worker.sock'),
    });
    await once(worker, 'message');
    const inner = await greetedBy('worker.sock');
    const hungUp = once(inner, 'close');
    await worker.terminate();
    await hungUp;
    const sockets = readdirSync(folder).filter((name) => name.endsWith('.sock'));
    console.log(sockets.sort().join(), first.connectionCount, second.connectionCount);
  },
};
await scenarios[scenario]?.();

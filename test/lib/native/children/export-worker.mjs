// A worker thread that serves a device on the socket of its workerData until it is terminated.
import { parentPort, workerData } from 'node:worker_threads';
import { register } from 'tsx/esm/api';

register();
const { createMemoryDevice } = await import('../../../../lib/native/device.ts');
const { serve } = await import('../../../../lib/native/export.ts');
await serve(createMemoryDevice({ size: 1024 * 1024 }), { socketPath: workerData });
parentPort.postMessage('listening');
setInterval(() => {}, 1000);

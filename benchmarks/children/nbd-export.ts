/** An export in a process of its own: KIND (memory or file), SOCKET, SIZE, and for a file its PATH. Says `ready`, and ends with its input. */
import { createMemoryDevice, openFileDevice, serve } from '../../lib/index.js';

const [kind, socketPath, size, file] = process.argv.slice(2) as [string, string, string, string];
await using device =
  kind === 'memory'
    ? createMemoryDevice({ size: Number(size) })
    : await openFileDevice(file, { writable: true });
await using _served = await serve(device, { socketPath });
console.log('ready');
for await (const _ of process.stdin);

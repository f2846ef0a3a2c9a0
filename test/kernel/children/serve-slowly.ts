/**
 * Attaches a device whose writes take 100 ms, prints its path, and stays until it is killed.
 *
 *   serve-slowly CONNECTIONS MECHANISM TIMEOUT_SECONDS
 */
import { attach, createFaultyDevice, createMemoryDevice } from '../../../lib/index.js';

const [connections = '1', mechanism = 'netlink', timeoutSeconds = '90'] = process.argv.slice(2);
const device = createFaultyDevice(createMemoryDevice({ size: 64 * 1024 ** 2 }), {
  faults: [{ operation: 'write', delayMs: 100 }],
});
const attachment = await attach(device, {
  connections: Number(connections),
  mechanism: mechanism as 'netlink' | 'ioctl',
  timeoutSeconds: Number(timeoutSeconds),
  deadConnectionTimeoutSeconds: 2,
});
console.log(attachment.path);
setInterval(() => {}, 1_000_000);

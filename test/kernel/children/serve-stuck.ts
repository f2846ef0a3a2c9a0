/**
 * Attaches a device and prints its path. From SIGUSR2 on the device answers neither reads nor writes, which is said by "stuck";
 * with a file, this process then waits for that file itself, on its main thread. It stays until it is killed.
 *
 *   serve-stuck CONNECTIONS [FILE]
 */
import { readFileSync, writeSync } from 'node:fs';
import { attach, createFaultyDevice, emptyDevice } from '../../../lib/index.js';

const [connections, file] = process.argv.slice(2);
const device = createFaultyDevice(await emptyDevice(64 * 1024 ** 2));
const attachment = await attach(device, {
  mechanism: 'netlink',
  connections: Number(connections),
  deadConnectionTimeoutSeconds: 3,
});
process.on('SIGUSR2', () => {
  for (const operation of ['read', 'write'] as const) device.arm({ operation, delayMs: 3_600_000 });
  writeSync(process.stdout.fd, 'stuck\n');
  if (file !== undefined) readFileSync(file);
});
writeSync(process.stdout.fd, `${attachment.path}\nattached\n`);
setInterval(() => attachment.stats(), 60_000);

/** Attaches and detaches until the time is up, whatever the driver does meanwhile; prints what it counted. */
import { attach, createMemoryDevice, isRootloomError } from '../../../lib/index.js';

const end = Date.now() + Number(process.argv[2]) * 1000;
const device = createMemoryDevice({ size: 8 * 1024 ** 2 });
const counts: Record<string, number> = {};
for (let turn = 0; Date.now() < end; turn += 1) {
  try {
    const mechanism = turn % 2 === 0 ? 'netlink' : 'ioctl';
    await using attachment = await attach(device, { mechanism });
    counts[attachment.mechanism] = (counts[attachment.mechanism] ?? 0) + 1;
  } catch (error) {
    if (!isRootloomError(error)) throw error;
    counts[error.code] = (counts[error.code] ?? 0) + 1;
  }
}
await device.close();
console.log(JSON.stringify(counts));

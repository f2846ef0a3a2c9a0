/** Attaches an empty device and holds it until the process is killed: hold-attachment.ts MECHANISM. Prints its path, then "attached". */
import { type AttachMechanism, attach, emptyDevice } from '../../../lib/index.js';

const device = await emptyDevice(64 * 1024 ** 2);
const attachment = await attach(device, {
  mechanism: process.argv[2] as AttachMechanism,
  timeoutSeconds: 5,
  deadConnectionTimeoutSeconds: 1,
});
process.stdout.write(`${attachment.path}\nattached\n`);
setInterval(() => attachment.stats(), 60_000);

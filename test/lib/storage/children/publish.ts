/**
 * Publishes builds, one after the other, and removes every third again: publish.ts STORE SIZE [STEP]. Kills itself at STEP of the
 * second publication, else runs until it is killed.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { openStore } from '../../../../lib/storage/open-store.js';
import { digestBytes } from '../../../../lib/util/digest.js';

const [root, size, fatalStep] = process.argv.slice(2) as [string, string, string | undefined];
const store = await openStore(root);
await using staging = await store.createStaging();
for (let count = 0; ; count += 1) {
  const buildId = randomUUID();
  const data = randomBytes(Number(size));
  const header = Buffer.from(digestBytes(data));
  const files = new Map([
    ['rootfs.ext4', join(staging.path, 'disk')],
    ['rootfs.ext4.header', join(staging.path, 'header')],
  ] as const);
  await writeFile(join(staging.path, 'disk'), data);
  await writeFile(join(staging.path, 'header'), header);
  const metadata = { version: 2, header: digestBytes(header) };
  const onProgress = ({ step }: { step: string }) => {
    if (count === 1 && step === fatalStep) process.kill(process.pid, 'SIGKILL');
  };
  await store.publish({ buildId, files, metadata }, { onProgress });
  if (count === 0) console.log('published');
  await store.writeLayer({ scope: 'test', hash: digestBytes(buildId) }, buildId);
  if (count % 3 === 2) await store.remove(buildId);
}

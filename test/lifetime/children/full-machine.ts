/**
 * Runs a guest whose disk, or whose memory, is on a filesystem that runs full: full-machine.ts FOLDER IMAGE WHAT. WHAT is `disk`,
 * `memory`, or `no room`, for a filesystem that is too small for the memory from the start. Prints how it ended as JSON.
 */
import { closeSync, openSync, writeSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Guest } from '../../../lib/build/guest.js';
import { openMachine } from '../../../lib/build/machine.js';
import { isRootloomError } from '../../../lib/errors.js';
import { openFileDevice } from '../../../lib/native/device.js';
import { createOverlay } from '../../../lib/native/overlay.js';
import type { Vm } from '../../../lib/vm/driver.js';

const MIB = 1024 * 1024;
const [folder, image, what] = process.argv.slice(2) as [string, string, 'disk' | 'memory' | 'no room'];
const { driver, kernel } = await openMachine();
const { signal } = new AbortController();

function fillFolder(): void {
  const file = openSync(path.join(folder, 'filler'), 'w');
  try {
    while (writeSync(file, Buffer.alloc(MIB, 1)) === MIB);
  } catch {
  } finally {
    closeSync(file);
  }
}

async function fillUp(vm: Vm, deadline: AbortSignal): Promise<void> {
  const agent = await vm.agent({ signal: deadline });
  if (what === 'memory') fillFolder();
  const target = what === 'memory' ? '/dev/shm/bulk' : '/var/bulk';
  const script = `mount -o remount,size=100% /dev/shm; head -c 200M /dev/urandom >${target}; sync`;
  await agent.exec(['/bin/sh', '-c', script], { signal: deadline });
  await agent.exec(['/bin/sync'], { signal: deadline });
}

await using base = await openFileDevice(image);
const diskFolder = what === 'disk' ? folder : tmpdir();
await using disk = await createOverlay(base, { upperPath: path.join(diskFolder, 'upper') });
const memoryFolder = what === 'disk' ? tmpdir() : folder;
const memoryPath = path.join(memoryFolder, 'memory');
const spec = { kernel, memoryBytes: 256 * MIB, cpus: 1, memoryPath, network: false };
const error: unknown = await Guest.boot(driver, disk, spec, {})
  .then((guest) => guest.use(signal, fillUp))
  .then(
    () => 'it went well',
    (reason) => reason,
  );
const { code, message, context } = isRootloomError(error)
  ? error
  : { code: String(error), message: '', context: {} };
const area = (await readdir(tmpdir())).find((name) => name.startsWith('rootloom-'));
const left = area === undefined ? [] : await readdir(path.join(tmpdir(), area));
console.log(
  JSON.stringify({ code, message, errno: context.errno, left: left.filter((name) => name !== 'lock') }),
);

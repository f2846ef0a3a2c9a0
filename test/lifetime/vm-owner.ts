/**
 * Owns one virtual machine, in a process of its own: prints its run directory and its keeper's id, and then goes in the way that its
 * argument says, or waits to be killed.
 */
import { createMemoryDevice } from '../../lib/native/device.js';
import { serve } from '../../lib/native/export.js';
import { ensureKernelBundle } from '../../lib/vm/kernel-bundle.js';
import { openQemuDriver } from '../../lib/vm/qemu.js';
import { RunDir } from '../../lib/vm/run-dir.js';

const [, , ending] = process.argv;

const kernel = await ensureKernelBundle();
const driver = await openQemuDriver({ accelerator: 'tcg' });
const runDir = await RunDir.create();
await using device = createMemoryDevice({ size: 64 << 20 });
await using exported = await serve(device, { socketPath: runDir.file('disk.sock') });
await using vm = await driver.create({ kernel, disk: exported, runDir, memoryBytes: 128 << 20 });
await vm.pause(); // Without a filesystem it would soon end by itself.
console.log(runDir.path);

switch (ending) {
  case 'throw':
    setTimeout(() => {
      throw new Error('nobody catches this');
    });
    break;
  case 'exit':
    process.exit(3);
    break;
  case 'return':
    break;
}
if (ending !== 'return') await new Promise((resolve) => setTimeout(resolve, 600_000));

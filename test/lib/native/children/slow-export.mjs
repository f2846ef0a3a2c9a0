// Starts an export that takes several seconds, and then ends as it is told to. Runs as a process, or as a worker thread
// of one. Speaks to the addon itself, so that nothing in lib/ helps it.
//
//   node slow-export.mjs <file> exit|throw|kill-worker|worker-exit|many-workers|drop
import { createRequire } from 'node:module';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';

const MIB = 1024 * 1024;
const require = createRequire(import.meta.url);
const addon = require('node-gyp-build')(fileURLToPath(new URL('../../../..', import.meta.url)));

// An export under way, with other calls beside it and progress coming in all the time.
async function startExport(file) {
  const memory = addon.createMemoryDevice(64 * MIB, 4096);
  await addon.deviceWrite(memory, 0, Buffer.alloc(64 * MIB, 1), false).promise;
  const slow = addon.createFaultyDevice(memory, false);
  addon.faultyArm(slow, { operation: 'read', delayMs: 60 });
  const started = new Promise((resolve) => {
    const { promise } = addon.copyDeviceToFile(slow, file, resolve);
    promise.then(
      () => console.log('exported'),
      (error) => console.log(`export rejected with ${error.kind}`),
    );
  });
  for (let i = 0; i < 8; i += 1) addon.deviceRead(slow, 0, 32 * MIB).promise.catch(() => {});
  await started;
}

async function startWorker(file, mode) {
  const worker = new Worker(new URL(import.meta.url), { workerData: { file, mode } });
  await new Promise((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  });
  return worker;
}

async function endAsProcess(file, mode) {
  switch (mode) {
    case 'exit':
      await startExport(file);
      process.exit(7);
      break;
    case 'throw':
      await startExport(file);
      setTimeout(() => {
        throw new Error('nobody catches this');
      });
      break;
    case 'kill-worker': {
      const worker = await startWorker(file, mode);
      console.log(`worker ended with ${await worker.terminate()}`);
      break;
    }
    case 'worker-exit': {
      const worker = await startWorker(file, mode);
      console.log(`worker ended with ${await new Promise((resolve) => worker.once('exit', resolve))}`);
      break;
    }
    case 'many-workers':
      // Terminated at all kinds of moments, also while calls start and finish.
      await Promise.all(
        Array.from({ length: 12 }, async (_, index) => {
          const worker = await startWorker(`${file}.${index}`, mode);
          await sleep(index * 7);
          await worker.terminate();
        }),
      );
      console.log('all ended');
      break;
    case 'drop':
      // Devices that nobody closes belong to the garbage collector.
      for (let round = 0; round < 50; round += 1) {
        const memory = addon.createMemoryDevice(MIB, 4096);
        await addon.deviceWrite(memory, 0, Buffer.alloc(MIB, 1), false).promise;
        addon.deviceRead(addon.createLoggingDevice(memory, 0), 0, MIB).promise.catch(() => {});
        globalThis.gc();
      }
      console.log('all dropped');
      break;
  }
}

async function endAsWorker({ file, mode }) {
  if (mode === 'many-workers') {
    parentPort.postMessage('started');
    for (;;) {
      const memory = addon.createMemoryDevice(MIB, 4096);
      await Promise.all(
        Array.from({ length: 8 }, () => addon.deviceWrite(memory, 0, Buffer.alloc(MIB, 1), false).promise),
      );
      addon.copyDeviceToFile(memory, file, () => {}).promise.catch(() => {});
    }
  }
  await startExport(file);
  parentPort.postMessage('started');
  if (mode === 'worker-exit') setTimeout(() => process.exit(3), 20);
}

if (isMainThread) {
  const [, , file, mode] = process.argv;
  await endAsProcess(file, mode);
} else {
  await endAsWorker(workerData);
}

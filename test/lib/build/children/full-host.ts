/**
 * Builds a base layer, and resizes its disk, on a filesystem that runs full: full-host.ts FOLDER REFERENCE STEP. The space is
 * taken away when STEP begins; `never` leaves it to the build to run out of it. Prints what happened as JSON.
 */
import { closeSync, openSync, rmSync, writeSync } from 'node:fs';
import path from 'node:path';
import { RootloomError } from '../../../../lib/errors.js';
import { openStore } from '../../../../lib/storage/open-store.js';
import { buildBase } from '../../../helpers/base-build.js';
import { stateOf } from '../../../helpers/store-state.js';

const MIB = 1024 * 1024;
const [folder, reference, step] = process.argv.slice(2) as [string, string, string];
const filler = path.join(folder, 'filler');

function fill(): void {
  const file = openSync(filler, 'w');
  try {
    for (const bytes of [MIB, 4096, 1]) {
      const piece = Buffer.alloc(bytes, 1);
      try {
        while (writeSync(file, piece) === bytes);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
      }
    }
  } finally {
    closeSync(file);
  }
}

const steps: string[] = [];
await using store = await openStore(path.join(folder, 'store'));
const failure = await buildBase({
  store,
  reference,
  disk: { size: 96 * MIB },
  emit: (event) => {
    if (event.type !== 'step' || event.done > 0) return;
    steps.push(event.step);
    if (event.step === step) fill();
  },
}).catch((error) => error);
const { code, context, message } =
  failure instanceof RootloomError ? failure : new RootloomError('IO', `${failure}`);
const state = await stateOf(store);
rmSync(filler, { force: true });
console.log(JSON.stringify({ code, errno: context.errno, message, lastStep: steps.at(-1), state }));

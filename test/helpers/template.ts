/** A template to start sandboxes from, made once and kept in build/fixtures: the guest image, booted and snapshotted. */
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { runLayer } from '../../lib/build/layer-runner.js';
import { openMachine } from '../../lib/build/machine.js';
import { SnapshotPhase } from '../../lib/build/snapshot-phase.js';
import { openStore } from '../../lib/storage/open-store.js';
import { withFileLock } from '../../lib/util/file-lock.js';
import { makeGuestBase, runOptions } from './guest-base.js';
import { guestImage } from './guest-image.js';

const FIXTURES = fileURLToPath(new URL('../../build/fixtures', import.meta.url));
const STORE = path.join(FIXTURES, 'template-store');

/** How long the first call may take: it makes the guest image and a kernel bundle, tries KVM, and boots. */
export const TEMPLATE_TIMEOUT_MS = 900_000;

export interface TestTemplate {
  /** The store's folder; nobody else writes to it. */
  store: string;
  buildId: string;
}

/** Finds the template, or makes it. A host or a program that it does not fit any more gets another one. */
export async function ensureTemplate(): Promise<TestTemplate> {
  await guestImage(); // Makes the folder, too.
  return withFileLock(path.join(FIXTURES, 'template-lock'), undefined, async () => {
    await using store = await openStore(STORE);
    const machine = await openMachine();
    const base = await makeGuestBase(store);
    const { build } = await runLayer(new SnapshotPhase(machine, undefined), base, runOptions(store));
    return { store: STORE, buildId: build.id };
  });
}

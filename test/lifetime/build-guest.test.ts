/** Guests that do not do what a build needs of them: typed errors, nothing left, nothing lost. */
import path from 'node:path';
import { execa } from 'execa';
import { beforeAll, describe, expect, test } from 'vitest';
import type { Layer } from '../../lib/build/layer-runner.js';
import { runLayer } from '../../lib/build/layer-runner.js';
import { type Machine, openMachine } from '../../lib/build/machine.js';
import type { TemplateOptions } from '../../lib/build/options.js';
import { ProvisionPhase } from '../../lib/build/provision-phase.js';
import { SnapshotPhase } from '../../lib/build/snapshot-phase.js';
import { buildTemplate } from '../../lib/build/template-builder.js';
import { RootloomError } from '../../lib/errors.js';
import { openStore } from '../../lib/storage/open-store.js';
import type { Store } from '../../lib/storage/store.js';
import { DiskPhase } from '../helpers/disk-phase.js';
import { makeGuestBase, runOptions } from '../helpers/guest-base.js';
import { GUEST_IMAGE_TIMEOUT_MS, guestImage } from '../helpers/guest-image.js';
import { useMachineArea } from '../helpers/machine-area.js';
import { stateOf } from '../helpers/store-state.js';
import { makeScratch, makeScratchFolder } from '../helpers/temporary.js';

const TIMEOUT_MS = 180_000;
const fullMachine = new URL('./children/full-machine.ts', import.meta.url).pathname;

const area = useMachineArea();
let store: Store;
let base: Layer;
let machine: Machine;

beforeAll(async () => {
  machine = await openMachine();
  store = await openStore(path.join(await makeScratchFolder(area.path), 'store'));
  base = await makeGuestBase(store);
}, GUEST_IMAGE_TIMEOUT_MS);

/** Runs what is to fail, and expects that nothing is left of it. */
async function failure(body: () => Promise<unknown>): Promise<RootloomError> {
  const before = await stateOf(store);
  const error = await body().catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(RootloomError);
  expect(await stateOf(store)).toEqual(before);
  expect(await area.leftovers()).toEqual({ processes: [], folders: [] });
  return error as RootloomError;
}

/** A build from the base, with a program of the image replaced: provisioning ends with whatever that does. */
function buildWithAptGet(script: string, options: Partial<TemplateOptions> = {}): Promise<unknown> {
  const files = [{ path: 'usr/bin/apt-get', content: `#!/bin/sh\n${script}\n`, mode: 0o755 }];
  return buildTemplate({ store, from: { template: base.build.id }, provisioning: { files }, ...options })
    .result;
}

describe('provisioning', () => {
  test(
    'that fails is GUEST_FAILED, with its exit code and its last lines',
    async () => {
      const error = await failure(() =>
        buildWithAptGet('echo "E: nothing can be installed today"\nexit 100'),
      );
      expect(error).toMatchObject({ code: 'GUEST_FAILED', context: { exitCode: 100 } });
      expect(error.context.logTail?.at(-1)).toBe('E: nothing can be installed today');
      expect(error.context.logTail?.length).toBeLessThanOrEqual(30);
    },
    TIMEOUT_MS,
  );

  test(
    'that never ends is GUEST_TIMEOUT, with what the guest has said',
    async () => {
      const error = await failure(() =>
        buildWithAptGet('echo "waiting for nothing"\nexec sleep 100000', {
          machine: { provisionTimeoutMs: 40_000 },
        }),
      );
      expect(error).toMatchObject({ code: 'GUEST_TIMEOUT' });
      expect(error.context.logTail).toContain('waiting for nothing');
    },
    TIMEOUT_MS,
  );

  test(
    'of a guest that is silent is GUEST_TIMEOUT',
    async () => {
      const impatient = { ...machine, provisionTimeoutMs: 500 };
      const error = await failure(() =>
        runLayer(new ProvisionPhase(impatient, undefined), base, runOptions(store)),
      );
      expect(error).toMatchObject({ code: 'GUEST_TIMEOUT', context: { operation: 'provision the disk' } });
    },
    TIMEOUT_MS,
  );

  test(
    'of a disk that has nothing to run is GUEST_FAILED, with what the console says',
    async () => {
      const empty = await runLayer(new DiskPhase(), undefined, runOptions(store));
      const error = await failure(() =>
        runLayer(new ProvisionPhase(machine, undefined), empty, runOptions(store)),
      );
      expect(error).toMatchObject({ code: 'GUEST_FAILED' });
      expect(error.context.logTail?.join('\n')).toContain('the disk has no program');
    },
    TIMEOUT_MS,
  );
});

describe('booting', () => {
  test(
    'a guest that does not answer in time is GUEST_TIMEOUT, with the end of its console',
    async () => {
      const impatient = { ...machine, bootTimeoutMs: 1000 };
      const error = await failure(() =>
        runLayer(new SnapshotPhase(impatient, undefined), base, runOptions(store)),
      );
      expect(error).toMatchObject({ code: 'GUEST_TIMEOUT' });
      expect(error.context.logTail).toBeInstanceOf(Array);
    },
    TIMEOUT_MS,
  );

  test(
    'a disk that has nothing to boot is VM_FAILED, with what the console says',
    async () => {
      const empty = await runLayer(new DiskPhase(), undefined, runOptions(store));
      const error = await failure(() =>
        runLayer(new SnapshotPhase(machine, undefined), empty, runOptions(store)),
      );
      expect(error).toMatchObject({ code: 'VM_FAILED' });
      expect(error.context.logTail?.join('\n')).toContain('the disk has no program');
    },
    TIMEOUT_MS,
  );
});

test.each([
  { what: 'disk', sizeMib: 100 },
  { what: 'memory', sizeMib: 320 },
  { what: 'no room', sizeMib: 128 },
])(
  'A host that runs full under a guest ($what) is NO_SPACE',
  async ({ what, sizeMib }) => {
    const folder = await makeScratch(area.path);
    const point = path.join(folder, 'full');
    const script = `mkdir -p '${point}' && mount -t tmpfs -o size=${sizeMib}m tmpfs '${point}' && exec "$@"`;
    const program = [process.execPath, '--import', 'tsx', fullMachine, point, await guestImage(), what];
    const { stdout } = await execa(
      'unshare',
      ['--map-root-user', '--mount', 'sh', '-c', script, 'sh', ...program],
      {
        env: { TMPDIR: folder },
      },
    );
    expect(JSON.parse(stdout)).toMatchObject({ code: 'NO_SPACE', left: [] });
    expect((await area.leftovers()).processes).toEqual([]);
  },
  TIMEOUT_MS,
);

/** Template builds that end before a machine boots: wrong options, bad sources, and what becomes of the caller's own errors. */
import { mkdir, readFile, symlink, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { beforeAll, expect, test } from 'vitest';
import type { BuildEvent } from '../../../lib/build/events.js';
import type { TemplateOptions } from '../../../lib/build/options.js';
import { buildTemplate } from '../../../lib/build/template-builder.js';
import type { ObjectName } from '../../../lib/storage/keys.js';
import { openStore } from '../../../lib/storage/open-store.js';
import type { Store } from '../../../lib/storage/store.js';
import { ensureKernelBundle } from '../../../lib/vm/kernel-bundle.js';
import { buildBase } from '../../helpers/base-build.js';
import { useMachineArea } from '../../helpers/machine-area.js';
import { makeSmallImage } from '../../helpers/small-image.js';
import { stateOf } from '../../helpers/store-state.js';
import { makeScratch } from '../../helpers/temporary.js';

const MIB = 1024 ** 2;
const area = useMachineArea();

beforeAll(async () => {
  await ensureKernelBundle();
}, 300_000);

async function makeStore(options: Parameters<typeof makeSmallImage>[1] = {}) {
  const folder = await makeScratch();
  const { reference } = await makeSmallImage(folder, options);
  return { folder, reference, store: await openStore(path.join(folder, 'store')) };
}

/** Builds, expects that to fail, and that nothing is left of it. */
async function failToBuild(options: TemplateOptions): Promise<Error> {
  const before = await stateOf(options.store);
  const build = buildTemplate(options);
  const error = await build.result.then(
    () => new Error('The build succeeded'),
    (reason) => reason,
  );
  expect(await stateOf(options.store)).toEqual(before);
  expect(await area.leftovers()).toEqual({ processes: [], folders: [] });
  return error;
}

function objectPath(store: Store, buildId: string, name: ObjectName): string {
  return path.join(fileURLToPath(store.url), 'templates', buildId, name);
}

test('buildTemplate rejects wrong options with TypeError and RangeError, before it does anything', async () => {
  const { store, reference } = await makeStore();
  await using _ = store;
  const from = { oci: reference };
  const disk = { size: 64 * MIB };
  const wrong: [Partial<Record<keyof TemplateOptions, unknown>>, typeof TypeError | typeof RangeError][] = [
    [{ from: {}, disk }, TypeError],
    [{ from: undefined, disk }, TypeError],
    [{ from: { oci: reference, template: 'both' }, disk }, TypeError],
    [{ from: { template: 'not a UUID' } }, TypeError],
    [{ from: { oci: 'docker://NOT a name' }, disk }, TypeError],
    [{ from: { oci: reference, platform: 'x' }, disk }, TypeError],
    [{ from }, TypeError],
    [{ from, disk: {} }, TypeError],
    [{ from, disk: { size: 64 * MIB, free: 1 } }, TypeError],
    [{ from, disk: { size: 64 * MIB + 1 } }, RangeError],
    [{ from, disk: { free: -1 } }, RangeError],
    [{ from, disk: { free: 1.5 } }, RangeError],
    [{ from, disk, check: 'sometimes' }, TypeError],
    [{ from, disk, machine: { cpus: 0 } }, RangeError],
    [{ from, disk, machine: { memoryBytes: 1000 } }, RangeError],
    [{ from, disk, machine: { bootTimeoutMs: 0 } }, RangeError],
    [{ from, disk, machine: { provisionTimeoutMs: 2 ** 31 } }, RangeError],
    [{ from, disk, provisioning: { hostname: 'not a name' } }, RangeError],
  ];
  for (const [options, type] of wrong) {
    const error = await failToBuild({ store, ...options } as TemplateOptions);
    expect(error, JSON.stringify(options)).toBeInstanceOf(type);
  }
  for (const [request, code] of [
    [{ size: MIB }, 'TOO_SMALL'],
    [{ size: 32 * 1024 ** 4 }, 'UNSUPPORTED'],
  ] as const) {
    expect(await failToBuild({ store, from, disk: request })).toMatchObject({ code });
  }
});

test('buildTemplate of what is not there is NOT_FOUND', async () => {
  const { store, folder } = await makeStore();
  await using _ = store;
  const template = '0f8fad5b-d9cb-469f-a165-70867728950e';
  expect(await failToBuild({ store, from: { template } })).toMatchObject({
    code: 'NOT_FOUND',
    context: { buildId: template },
  });
  const disk = { size: 64 * MIB };
  for (const oci of [`oci:${path.join(folder, 'nothing')}`, `oci:${path.join(folder, 'image')}:other`]) {
    expect(await failToBuild({ store, from: { oci }, disk })).toMatchObject({ code: 'NOT_FOUND' });
  }
});

test('buildTemplate of a damaged template is CORRUPT, and the template stays as it is', async () => {
  const damages: [string, (store: Store, id: string) => Promise<void>][] = [
    ['metadata that is no JSON', (store, id) => writeFile(objectPath(store, id, 'metadata.json'), '{')],
    [
      'metadata of another shape',
      (store, id) => writeFile(objectPath(store, id, 'metadata.json'), '{"version":2}'),
    ],
    ['header cut short', (store, id) => truncate(objectPath(store, id, 'rootfs.ext4.header'), 63)],
    ['header cut in a mapping', (store, id) => truncate(objectPath(store, id, 'rootfs.ext4.header'), 90)],
    [
      'header of another build',
      async (store, id) => {
        const file = objectPath(store, id, 'rootfs.ext4.header');
        const bytes = await readFile(file);
        await writeFile(file, bytes.fill(7, 32, 48));
      },
    ],
    ['diff cut short', (store, id) => truncate(objectPath(store, id, 'rootfs.ext4'), 8192)],
    [
      'superblock of nothing',
      async (store, id) => {
        const file = objectPath(store, id, 'rootfs.ext4');
        const bytes = await readFile(file);
        await writeFile(file, bytes.fill(0, 0, 4096));
      },
    ],
    [
      'bitmap of other bits',
      async (store, id) => {
        // Behind superblock, descriptors and their reserve: what a disk without provenance has checked.
        const file = objectPath(store, id, 'rootfs.ext4');
        const bytes = await readFile(file);
        await writeFile(file, bytes.fill(0x5a, 4096, 8192));
      },
    ],
  ];
  for (const [name, damage] of damages) {
    const { store, reference } = await makeStore();
    await using _ = store;
    const { build } = await buildBase({ store, reference, disk: { size: 64 * MIB } });
    await damage(store, build.id);
    const error = await failToBuild({ store, from: { template: build.id }, disk: { size: 96 * MIB } });
    expect(error, name).toMatchObject({ code: 'CORRUPT' });
  }
});

test('buildTemplate says by how much a disk is too small', async () => {
  const { store, reference } = await makeStore({ bulkBytes: 40 * MIB });
  await using _ = store;
  const disk = { size: 20 * MIB };
  const ofImage = await failToBuild({ store, from: { oci: reference }, disk });
  expect(ofImage).toMatchObject({ code: 'TOO_SMALL', context: { minimum: expect.any(Number) } });
  const { build } = await buildBase({ store, reference, disk: { size: 128 * MIB } });
  const ofTemplate = await failToBuild({ store, from: { template: build.id }, disk });
  expect(ofTemplate).toMatchObject({ code: 'TOO_SMALL', context: { minimum: expect.any(Number) } });
});

test('buildTemplate without QEMU is TOOL_MISSING', async () => {
  const { store, reference, folder } = await makeStore();
  await using _ = store;
  const programs = path.join(folder, 'programs');
  await mkdir(programs);
  const { stdout: busybox } = await execa('which', ['busybox']);
  await symlink(busybox, path.join(programs, 'busybox'));
  const child = new URL('./children/failing-build.ts', import.meta.url).pathname;
  const { stdout } = await execa(
    process.execPath,
    ['--import', 'tsx', child, fileURLToPath(store.url), reference],
    { env: { PATH: programs, TMPDIR: area.path, HOME: process.env.HOME }, extendEnv: false },
  );
  expect(JSON.parse(stdout)).toMatchObject({ code: 'TOOL_MISSING', path: 'qemu-system-x86_64' });
  expect(await stateOf(store)).toEqual({ builds: [], temporary: [], layers: {} });
});

test('A template build passes on what the signal says, however early', async () => {
  const { store, reference } = await makeStore();
  await using _ = store;
  const options = { store, from: { oci: reference }, disk: { size: 64 * MIB } };
  const reason = new Error('never mind');
  expect(await failToBuild({ ...options, signal: AbortSignal.abort(reason) })).toBe(reason);
  for (const delayMs of [0, 5, 20, 60]) {
    const controller = new AbortController();
    setTimeout(() => controller.abort(reason), delayMs);
    expect(await failToBuild({ ...options, signal: controller.signal })).toBe(reason);
  }
});

test('A template build whose result nobody awaits rejects nowhere else, and its events end with the error', async () => {
  const { store } = await makeStore();
  await using _ = store;
  const rejections: unknown[] = [];
  const note = (reason: unknown) => rejections.push(reason);
  process.on('unhandledRejection', note);
  try {
    const build = buildTemplate({ store, from: { template: '0f8fad5b-d9cb-469f-a165-70867728950e' } });
    const iterator = build[Symbol.asyncIterator]();
    await expect(iterator.next()).rejects.toMatchObject({ code: 'NOT_FOUND' });
    buildTemplate({ store, from: { template: 'not a UUID' } });
    await new Promise((resolve) => setTimeout(resolve, 50));
  } finally {
    process.off('unhandledRejection', note);
  }
  expect(rejections).toEqual([]);
});

test('A template build ends with the error that its progress listener or logger has thrown', async () => {
  const { store, reference } = await makeStore({ bulkBytes: 8 * MIB });
  await using _ = store;
  const options = { store, from: { oci: reference }, disk: { size: 64 * MIB } };
  const error = new Error('thrown by the listener');
  const fail = () => {
    throw error;
  };
  expect(await failToBuild({ ...options, onProgress: fail })).toBe(error);
  const onProgress = ({ step }: { step: string }) => step.includes('apply layer') && fail();
  expect(await failToBuild({ ...options, onProgress })).toBe(error);
  const logger = { info: fail, debug: () => {} } as unknown as NonNullable<TemplateOptions['logger']>;
  expect(await failToBuild({ ...options, logger })).toBe(error);
});

test('Leaving the scope of a template build aborts it, and waits until everything is released', async () => {
  const { store, reference } = await makeStore({ bulkBytes: 8 * MIB });
  await using _ = store;
  const error = new Error('thrown by the loop');
  let result: Promise<unknown> | undefined;
  const events: BuildEvent[] = [];
  const build = async () => {
    await using running = buildTemplate({ store, from: { oci: reference }, disk: { size: 64 * MIB } });
    result = running.result;
    for await (const event of running) {
      events.push(event);
      if (event.type === 'step' && event.step === 'seal disk') throw error;
    }
  };
  await expect(build()).rejects.toBe(error);
  await expect(result).rejects.toMatchObject({ name: 'AbortError' });
  expect(events[0]).toMatchObject({ type: 'phase-started', phase: 'base' });
  expect(await stateOf(store)).toEqual({ builds: [], temporary: [], layers: {} });
  expect(await area.leftovers()).toEqual({ processes: [], folders: [] });
});

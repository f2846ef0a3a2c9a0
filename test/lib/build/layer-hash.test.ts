import path from 'node:path';
import { expect, test } from 'vitest';
import { openBuild } from '../../../lib/artifact/build.js';
import { ImagePhase } from '../../../lib/build/image-phase.js';
import { deriveUuid, layerHash } from '../../../lib/build/layer-hash.js';
import type { Machine } from '../../../lib/build/machine.js';
import { ProvisionPhase } from '../../../lib/build/provision-phase.js';
import { SnapshotPhase } from '../../../lib/build/snapshot-phase.js';
import { TemplatePhase } from '../../../lib/build/template-phase.js';
import { openImage } from '../../../lib/oci/image.js';
import { type ProvisioningOptions, provisioningFiles } from '../../../lib/rootfs/provisioning/files.js';
import type { CheckPolicy } from '../../../lib/rootfs/soundness.js';
import type { Strategy } from '../../../lib/rootfs/strategy.js';
import { openStore } from '../../../lib/storage/open-store.js';
import { buildBase } from '../../helpers/base-build.js';
import { makeSmallImage } from '../../helpers/small-image.js';
import { makeScratch } from '../../helpers/temporary.js';

const MIB = 1024 * 1024;

const PROVISIONINGS: ProvisioningOptions[] = [
  {},
  { packages: ['a', 'b'] },
  { packages: ['a'] },
  { hostname: 'other' },
  { rootLogin: 'empty' },
  { files: [{ path: 'srv/x', content: 'x' }] },
  { files: [{ path: 'srv/x', content: 'y' }] },
  { files: [{ path: 'srv/x', content: 'x', mode: 0o600 }] },
];

function makeMachine(change: {
  kernel?: string;
  memoryBytes?: number;
  cpus?: number;
  accelerator?: string;
  qemuVersion?: string;
  hostCpu?: string | null;
}): Machine {
  const { kernel = 'k', memoryBytes = 512 * MIB, cpus = 2, accelerator = 'tcg' } = change;
  const { qemuVersion = '7.2.22', hostCpu = null } = change;
  const driver = { acceleration: { accelerator }, host: { qemuVersion, hostCpu, accelerator, tscKhz: 1 } };
  return { kernel: { digest: kernel }, memoryBytes, cpus, driver } as unknown as Machine;
}

function expectDistinct(hashes: readonly string[]): void {
  for (const hash of hashes) expect(hash).toMatch(/^[0-9a-f]{64}$/);
  expect(new Set(hashes).size).toBe(hashes.length);
}

test('layerHash depends on the phase, its inputs and its parent, and on nothing else', () => {
  const hashes = [
    layerHash('base', { a: 1, b: 2 }),
    layerHash('provision', { a: 1, b: 2 }),
    layerHash('base', { a: 1, b: '2' }),
    layerHash('base', { a: 1 }),
    layerHash('base', { a: 1, b: 2 }, 'parent'),
    layerHash('base', { a: 1, b: 2 }, 'other parent'),
    layerHash('base', ['a b']),
    layerHash('base', ['a', 'b']),
  ];
  expectDistinct(hashes);
  expect(layerHash('base', { b: 2, a: 1 })).toBe(hashes[0]);
});

test('deriveUuid gives one UUID of version 8 for a hash and a purpose', () => {
  const uuid = deriveUuid('hash', 'filesystem');
  expect(uuid).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  expect(deriveUuid('hash', 'filesystem')).toBe(uuid);
  expect(deriveUuid('hash', 'directory hash')).not.toBe(uuid);
  expect(deriveUuid('other', 'filesystem')).not.toBe(uuid);
});

test('The base layer of an image depends on its manifest, the disk request and each provisioning option', async () => {
  const [first, second] = [await makeScratch(), await makeScratch()];
  await using image = await openImage((await makeSmallImage(first)).reference);
  await using other = await openImage((await makeSmallImage(second, { note: 'other' })).reference);
  const hash = async (from: typeof image, disk: { size: number } | { free: number }, provisioning = {}) =>
    layerHash('base', (await ImagePhase.of(from, await provisioningFiles(provisioning), disk)).inputs);
  expectDistinct([
    ...(await Promise.all(PROVISIONINGS.map((options) => hash(image, { size: 64 * MIB }, options)))),
    await hash(image, { size: 65 * MIB }),
    await hash(image, { free: 64 * MIB }),
    await hash(other, { size: 64 * MIB }),
  ]);
});

test('The base layer of a template depends on the source build, the disk request, the strategy, the check and provisioning', async () => {
  const folder = await makeScratch();
  const { reference } = await makeSmallImage(folder);
  await using store = await openStore(path.join(folder, 'store'));
  const ids = [64 * MIB, 80 * MIB].map(
    async (size) => (await buildBase({ store, reference, disk: { size } })).build.id,
  );
  const [one, two] = (await Promise.all(ids)) as [string, string];
  const hash = async (
    id: string,
    disk?: { size: number } | { free: number },
    check: CheckPolicy = 'auto',
    provisioning = {},
    strategy: Strategy = 'resize',
  ) => {
    const files = await provisioningFiles(provisioning);
    return layerHash(
      'base',
      new TemplatePhase(await openBuild(store, id), files, disk, check, strategy).inputs,
    );
  };
  expectDistinct([
    ...(await Promise.all(PROVISIONINGS.map((options) => hash(one, undefined, 'auto', options)))),
    await hash(one, { size: 64 * MIB }),
    await hash(one, { free: 64 * MIB }),
    await hash(one, undefined, 'always'),
    await hash(one, undefined, 'auto', {}, 'rebuild'),
    await hash(one, undefined, 'auto', {}, 'copy'),
    await hash(two),
  ]);
});

test('A provisioned disk and a snapshot depend on the machine, a snapshot also on what runs it', () => {
  const common = [{}, { kernel: 'other' }, { memoryBytes: 256 * MIB }, { cpus: 1 }, { accelerator: 'kvm' }];
  const ofSnapshots = [...common, { qemuVersion: '8.0.0' }, { hostCpu: 'another' }];
  expectDistinct(
    common.map((change) => layerHash('provision', new ProvisionPhase(makeMachine(change), undefined).inputs)),
  );
  expectDistinct(
    ofSnapshots.map((change) =>
      layerHash('template', new SnapshotPhase(makeMachine(change), undefined).inputs),
    ),
  );
});

test('SnapshotPhase accepts the snapshots that this host can go on with', () => {
  const host = { qemuVersion: '7.2.22', accelerator: 'tcg', hostCpu: null, tscKhz: 2_300_000 };
  const machine = {
    ...makeMachine({}),
    driver: { acceleration: { accelerator: 'tcg' }, host },
  } as unknown as Machine;
  const vm = { ...host, formatVersion: 1, cpus: 2, memoryBytes: 512 * MIB, network: true };
  const accepts = (description: unknown) =>
    new SnapshotPhase(machine, undefined).accepts({ metadata: { rootloom: { vm: description } } } as never);
  expect(accepts(vm)).toBe(true);
  expect(accepts({ ...vm, tscKhz: 2_300_500 })).toBe(true);
  expect(accepts({ ...vm, tscKhz: 2_400_000 })).toBe(false);
  expect(accepts({ ...vm, qemuVersion: '9.0.0' })).toBe(false);
  expect(accepts({ ...vm, formatVersion: 2 })).toBe(false);
  expect(accepts(undefined)).toBe(false);
});

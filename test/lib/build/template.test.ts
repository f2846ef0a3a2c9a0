/**
 * The main job with real machines: templates from an image and from templates, and sandboxes from them. The tests share one
 * store, which the first build fills; each build after that costs two boots.
 */
import { readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openBuild } from '../../../lib/artifact/build.js';
import type { TemplateOptions } from '../../../lib/build/options.js';
import { startSandbox } from '../../../lib/build/sandbox.js';
import { buildTemplate, type TemplateResult } from '../../../lib/build/template-builder.js';
import { openRootfs } from '../../../lib/rootfs/rootfs.js';
import { openStore } from '../../../lib/storage/open-store.js';
import type { Store } from '../../../lib/storage/store.js';
import { digestFile } from '../../../lib/util/digest.js';
import { ensureDebianImage } from '../../../scripts/fixtures/debian-image.js';
import { fullImage } from '../../helpers/full-image.js';
import { useMachineArea } from '../../helpers/machine-area.js';
import { checkWithStockTool } from '../../helpers/stock-check.js';
import { stateOf } from '../../helpers/store-state.js';
import { makeScratchFolder } from '../../helpers/temporary.js';

const MIB = 1024 ** 2;
const GIB = 1024 ** 3;

/** Downloads packages and boots four machines, all emulated. */
const FIRST_BUILDS_TIMEOUT_MS = 900_000;
const BUILD_TIMEOUT_MS = 300_000;

const area = useMachineArea();
let folder: string;
let store: Store;
/** The options of the first template: 1 GiB, with a package and files of the caller's. */
let firstOptions: TemplateOptions;
let first: TemplateResult;
/** A template whose disk was asked for by its free space. */
let roomy: TemplateResult;
let grown: TemplateResult;
let filled: TemplateResult;

/** Writes more at every boot than a build keeps free for one. */
const FILLER_BYTES = 150 * MIB;
const FILLER_UNIT = `[Unit]
DefaultDependencies=no
After=local-fs.target
Before=multi-user.target
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'head -c ${FILLER_BYTES} /dev/urandom >/var/filler'
`;

interface LoggedResult extends TemplateResult {
  lines: string[];
}

async function build(options: Omit<TemplateOptions, 'store'>): Promise<LoggedResult> {
  const running = buildTemplate({ ...options, store });
  const lines: string[] = [];
  for await (const event of running) if (event.type === 'log') lines.push(event.line);
  return { ...(await running.result), lines };
}

async function diskSize(buildId: string): Promise<number> {
  return (await (await openBuild(store, buildId)).header('rootfs')).size;
}

async function ask(sandbox: Awaited<ReturnType<typeof startSandbox>>, script: string): Promise<string> {
  const { exitCode, stdout, stderr } = await sandbox.exec(['/bin/sh', '-c', script]);
  expect(exitCode, `${script}: ${stderr}`).toBe(0);
  return stdout.toString().trim();
}

/** What `df` says of the root filesystem in a guest, in bytes. */
async function askSizes(
  sandbox: Awaited<ReturnType<typeof startSandbox>>,
): Promise<{ size: number; available: number }> {
  const [size, available] = (await ask(sandbox, 'df -B1 --output=size,avail / | tail -n1'))
    .split(/\s+/)
    .map(Number);
  return { size: size ?? 0, available: available ?? 0 };
}

/** A digest of every object of a build. */
async function digestBuild(buildId: string): Promise<Record<string, string>> {
  const objects = path.join(fileURLToPath(store.url), 'templates', buildId);
  const digests: Record<string, string> = {};
  for (const name of await readdir(objects)) digests[name] = (await digestFile(path.join(objects, name))).hex;
  return digests;
}

beforeAll(async () => {
  folder = await makeScratchFolder();
  store = await openStore(path.join(folder, 'store'));
  const { reference } = await ensureDebianImage();
  firstOptions = {
    store,
    from: { oci: reference },
    disk: { size: GIB },
    provisioning: {
      packages: ['less'],
      hostname: 'first',
      files: [
        { path: 'etc/extra', content: 'an extra file\n', mode: 0o640, gid: 7 },
        { path: 'srv/extra-link', linkTarget: '/etc/extra' },
      ],
    },
  };
  [first, roomy] = await Promise.all([
    build(firstOptions),
    build({ from: { oci: await fullImage() }, disk: { free: 700 * MIB } }),
  ]);
}, FIRST_BUILDS_TIMEOUT_MS);

afterAll(async () => {
  await store.close();
  await rm(folder, { recursive: true, force: true });
});

describe('from an image', () => {
  test('buildTemplate gives a template of exactly the size asked for', async () => {
    expect(first.phases.map(({ phase, cached }) => ({ phase, cached }))).toEqual([
      { phase: 'base', cached: false },
      { phase: 'provision', cached: false },
      { phase: 'template', cached: false },
    ]);
    expect(first.phases.at(-1)?.buildId).toBe(first.buildId);
    for (const { buildId } of first.phases) expect(await diskSize(buildId)).toBe(GIB);
    const { metadata, ...template } = await openBuild(store, first.buildId);
    expect(template.id).toBe(first.buildId);
    expect(metadata.rootloom).toMatchObject({ phase: 'template', parentBuildId: first.phases[1]?.buildId });
    expect(metadata.rootloom?.memory?.diffBytes).toBeLessThan(400 * MIB);
    expect(metadata.template?.kernel_version).toMatch(/^\d+\.\d+/);
  });

  test('buildTemplate gives a disk with the free space asked for, and about no more', async () => {
    const size = await diskSize(roomy.buildId);
    expect(size).toBeGreaterThan(700 * MIB);
    expect(size).toBeLessThan(1400 * MIB);
    await using sandbox = await startSandbox(store, roomy.buildId);
    const sizes = await askSizes(sandbox);
    expect(sizes.available).toBeGreaterThanOrEqual(700 * MIB);
    expect(sizes.available).toBeLessThan(800 * MIB);
  });

  test('buildTemplate of the same again is answered from the cache', async () => {
    const again = await build(firstOptions);
    expect(again.phases.map(({ cached }) => cached)).toEqual([true, true, true]);
    expect(again.phases.map(({ buildId }) => buildId)).toEqual(first.phases.map(({ buildId }) => buildId));
    expect(again.phases.every(({ storedBytes }) => storedBytes === 0)).toBe(true);
  });

  test('A template has the packages and files of its options', async () => {
    await using sandbox = await startSandbox(store, first.buildId);
    expect(await ask(sandbox, 'dpkg -s less | grep ^Status')).toBe('Status: install ok installed');
    expect(await ask(sandbox, 'cat /srv/extra-link')).toBe('an extra file');
    expect(await ask(sandbox, 'stat -c "%a %u %g" /etc/extra')).toBe('640 0 7');
    expect(await ask(sandbox, 'hostname')).toBe('first');
    await using plain = await startSandbox(store, roomy.buildId);
    expect((await plain.exec(['/bin/ls', '/etc/extra'])).exitCode).toBe(2);
  });
});

describe('from a template', () => {
  beforeAll(async () => {
    const files = [
      { path: 'etc/systemd/system/filler.service', content: FILLER_UNIT },
      {
        path: 'etc/systemd/system/multi-user.target.wants/filler.service',
        linkTarget: '/etc/systemd/system/filler.service',
      },
    ];
    const from = { template: first.buildId };
    [grown, filled] = await Promise.all([
      build({ from, disk: { size: 4 * GIB } }),
      build({ from, disk: { free: 2 * GIB }, provisioning: { files } }),
    ]);
  }, BUILD_TIMEOUT_MS);

  test('buildTemplate gives the source another size, for little more than what the boots write', async () => {
    expect(await diskSize(grown.buildId)).toBe(4 * GIB);
    const [base, provision] = grown.phases;
    const stored = (await openBuild(store, base?.buildId ?? '')).metadata.rootloom;
    expect(stored).toMatchObject({ strategy: 'resize', sourceBuildId: first.buildId });
    expect(stored?.disk.diffBytes).toBeLessThan(4 * MIB);
    expect(provision?.storedBytes).toBeLessThan(16 * MIB);
    expect((grown as LoggedResult).lines).toContain('Every package is installed');
  });

  test('buildTemplate keeps the promise of free space though the boot itself fills the disk', async () => {
    const boots = filled.phases.at(-1)?.timings.filter(({ step }) => step === 'boot').length;
    expect(boots).toBe(2);
    await using sandbox = await startSandbox(store, filled.buildId);
    expect(Number(await ask(sandbox, 'stat -c %s /var/filler'))).toBe(FILLER_BYTES);
    const { available } = await askSizes(sandbox);
    expect(available).toBeGreaterThanOrEqual(2 * GIB);
    expect(available).toBeLessThan(2 * GIB + 256 * MIB);
  });

  test(
    'buildTemplate makes a large disk small again',
    async () => {
      const shrunk = await build({ from: { template: grown.buildId }, disk: { size: GIB } });
      expect(await diskSize(shrunk.buildId)).toBe(GIB);
      await using sandbox = await startSandbox(store, shrunk.buildId);
      expect(await ask(sandbox, 'systemctl is-system-running')).toBe('running');
      expect((await askSizes(sandbox)).size).toBeLessThan(GIB);
      expect(await checkWithStockTool(store, shrunk.buildId, folder)).toMatchObject({ exitCode: 0 });
    },
    BUILD_TIMEOUT_MS,
  );

  test('Sandboxes of one template run at once, see its disk, keep to themselves, and do not change it', async () => {
    const before = await digestBuild(grown.buildId);
    {
      await using one = await startSandbox(store, grown.buildId);
      await using two = await startSandbox(store, grown.buildId);
      for (const sandbox of [one, two]) {
        expect(await ask(sandbox, 'systemctl is-system-running')).toBe('running');
        expect(await ask(sandbox, '. /etc/os-release && echo $ID $VERSION_ID')).toBe('debian 12');
        const { size } = await askSizes(sandbox);
        expect(size).toBeGreaterThan(3.9 * GIB);
        expect(size).toBeLessThanOrEqual(4 * GIB);
        const drift = Number(await ask(sandbox, 'date +%s')) - Date.now() / 1000;
        expect(Math.abs(drift)).toBeLessThan(30);
      }
      await ask(one, 'echo one >/srv/own && head -c 20M /dev/urandom >/srv/bulk && sync');
      expect((await two.exec(['/bin/ls', '/srv/own'])).exitCode).toBe(2);
      await ask(two, 'echo two >/srv/own && rm /etc/extra && sync');
      expect(await ask(one, 'cat /srv/own /etc/extra')).toBe('one\nan extra file');
    }
    expect(await digestBuild(grown.buildId)).toEqual(before);
    await (await openBuild(store, grown.buildId)).verify({ deep: true });
    await using rootfs = await openRootfs(store, grown.buildId);
    await using tree = await rootfs.openTree();
    expect((await tree.readFile('/etc/extra')).toString()).toBe('an extra file\n');
    await expect(tree.stat('/srv/own')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
});

test('The exported disks of all templates are clean under the stock e2fsck', async () => {
  for (const { buildId } of [first, roomy, grown, filled]) {
    const { exitCode, output } = await checkWithStockTool(store, buildId, folder);
    expect(exitCode, output).toBe(0);
  }
});

test('Nothing is left of the builds and sandboxes but whole builds', async () => {
  const { builds, temporary } = await stateOf(store);
  expect(temporary).toEqual([]);
  expect(await area.leftovers()).toEqual({ processes: [], folders: [] });
  for (const id of builds) await (await openBuild(store, id)).verify({ deep: true });
});

import { mkdtemp, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { EXIT_MARKER, PAYLOAD_FOLDER, PROVISIONING_INIT } from '../../../lib/rootfs/provisioning/config.js';
import {
  type ProvisioningFile,
  type ProvisioningOptions,
  provisioningDigest,
  provisioningFiles,
} from '../../../lib/rootfs/provisioning/files.js';
import { encodeProvisioningLayer } from '../../../lib/rootfs/provisioning/layer.js';
import { isStaticProgram, readStaticBusybox } from '../../../lib/util/static-busybox.js';

const ASSETS = fileURLToPath(new URL('../../../lib/rootfs/provisioning/assets/', import.meta.url));

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(await realpath(tmpdir()), 'rootloom-provisioning-'));
});
afterAll(() => rm(folder, { recursive: true }));

function find(files: readonly ProvisioningFile[], name: string): ProvisioningFile {
  const file = files.find((candidate) => candidate.path === name);
  if (file === undefined) throw new Error(`${name} is not in the set`);
  return file;
}

describe('provisioningFiles', () => {
  test('is ordered, root-owned, without duplicates, and says what each file is for', async () => {
    const files = await provisioningFiles();
    const paths = files.map(({ path: name }) => name);
    expect(paths).toEqual([...new Set(paths)].sort());
    for (const { uid, gid, purpose } of files) expect([uid, gid, purpose !== '']).toEqual([0, 0, true]);
    expect(find(files, PROVISIONING_INIT.slice(1)).mode).toBe(0o755);
    expect(find(files, `${PAYLOAD_FOLDER}/busybox`).mode).toBe(0o755);
    expect(find(files, `${PAYLOAD_FOLDER}/config`).content?.toString()).toContain(
      `EXIT_MARKER='${EXIT_MARKER}'`,
    );
  });

  test('holds every asset there is', async () => {
    const { stdout } = await execa('find', [ASSETS, '-type', 'f']);
    const files = await provisioningFiles();
    for (const asset of stdout.split('\n')) {
      const content = await readFile(asset);
      expect(
        files.some((file) => file.content?.equals(content)),
        asset,
      ).toBe(true);
    }
  });

  test('writes nothing of a distribution outside of the payload', async () => {
    const outside = (await provisioningFiles()).filter(
      ({ path: name }) => !name.startsWith(`${PAYLOAD_FOLDER}/`),
    );
    expect(outside.map(({ path: name }) => name)).toEqual([
      'etc/chrony/conf.d/rootloom.conf',
      'etc/hostname',
      'etc/hosts',
      'etc/resolv.conf',
      'etc/ssh/sshd_config.d/00-rootloom.conf',
      'etc/sysctl.d/60-rootloom.conf',
    ]);
  });

  test('lets nobody in without a password by default', async () => {
    const files = await provisioningFiles();
    const ssh = find(files, 'etc/ssh/sshd_config.d/00-rootloom.conf').content?.toString();
    expect(ssh).toBe('PermitRootLogin prohibit-password\nPermitEmptyPasswords no\n');
  });

  test('takes extra files from memory, from the host, as links, and in the place of its own', async () => {
    const source = path.join(folder, 'source');
    await writeFile(source, 'from the host');
    const files = await provisioningFiles({
      files: [
        { path: '/opt/a', content: 'text', mode: 0o4755, uid: 1, gid: 2 },
        { path: 'opt/b', source },
        { path: 'opt/c', linkTarget: 'a' },
        { path: 'etc/hosts', content: 'mine' },
      ],
    });
    expect(find(files, 'opt/a')).toMatchObject({
      mode: 0o4755,
      uid: 1,
      gid: 2,
      content: Buffer.from('text'),
    });
    expect(find(files, 'opt/b').content?.toString()).toBe('from the host');
    expect(find(files, 'opt/c').linkTarget).toBe('a');
    expect(find(files, 'etc/hosts').content?.toString()).toBe('mine');
  });

  const wrong: [string, ProvisioningOptions][] = [
    ['a host name with a blank', { hostname: 'a b' }],
    ['an empty host name', { hostname: '' }],
    ['an address without a prefix', { network: { address: '10.0.2.15' } }],
    ['a prefix over 32', { network: { address: '10.0.2.15/33' } }],
    ['a gateway that is none', { network: { gateway: 'gateway' } }],
    ['no name server', { network: { nameservers: [] } }],
    ['a name server that is none', { network: { nameservers: ['10.0.2.3\noptions x'] } }],
    ['a package that is an option', { packages: ['-y'] }],
    ['a package that is a shell word', { packages: ["'; reboot; '"] }],
    ['an agent whose name is a path', { agent: { name: '../x', binary: 'x', unit: '[Service]' } }],
    ['an agent without a unit', { agent: { name: 'x', binary: 'x', unit: '' } }],
    ['a path upwards', { files: [{ path: 'a/../../b', content: '' }] }],
    ['an empty path', { files: [{ path: '/', content: '' }] }],
    ['a path in the payload', { files: [{ path: `${PAYLOAD_FOLDER}/config`, content: '' }] }],
    ['a mode that is none', { files: [{ path: 'a', content: '', mode: 0o100644 }] }],
    [
      'two files of one path',
      {
        files: [
          { path: 'a', content: '' },
          { path: '/a', content: '' },
        ],
      },
    ],
  ];
  test.each(wrong)('refuses %s', async (_, options) => {
    await expect(provisioningFiles(options)).rejects.toThrow(RangeError);
  });

  test('names a file of the host that is missing', async () => {
    const source = path.join(folder, 'missing');
    const failure = provisioningFiles({ files: [{ path: 'a', source }] });
    await expect(failure).rejects.toMatchObject({ code: 'NOT_FOUND', context: { path: source } });
  });
});

describe('provisioningDigest', () => {
  test('is the same for the same options, and differs for each that differs', async () => {
    const binary = path.join(folder, 'agent');
    await writeFile(binary, 'agent');
    const variants: ProvisioningOptions[] = [
      {},
      { hostname: 'other' },
      { network: { nameservers: ['192.0.2.1'] } },
      { network: { address: '192.0.2.2/24', gateway: '192.0.2.1' } },
      { packages: ['jq'] },
      { packages: ['jq', 'vim'] },
      { rootLogin: 'empty' },
      { agent: { name: 'a', binary, unit: '[Service]' } },
      { agent: { name: 'a', binary, unit: '[Service]\n' } },
      { files: [{ path: 'a', content: 'b' }] },
      { files: [{ path: 'a', linkTarget: 'b' }] },
      { files: [{ path: 'a', content: 'b', mode: 0o600 }] },
      { files: [{ path: 'a', content: 'b', uid: 1 }] },
    ];
    const digest = async (options: ProvisioningOptions) =>
      provisioningDigest(await provisioningFiles(options));
    const digests = await Promise.all(variants.map(digest));
    expect(new Set(digests).size).toBe(variants.length);
    expect(await Promise.all(variants.map(digest))).toEqual(digests);
    expect(digests[0]).toMatch(/^[0-9a-f]{64}$/);
  });
});

describe('encodeProvisioningLayer', () => {
  test('is an archive that tar reads back alike, with long and odd names and links', async () => {
    const long = `opt/${'deep/'.repeat(30)}${'n'.repeat(200)}`;
    const files = await provisioningFiles({
      files: [
        { path: long, content: 'long', mode: 0o600 },
        { path: 'opt/größe', content: Buffer.alloc(1537, 7), mode: 0o4755 },
        { path: 'opt/link', linkTarget: `/${long}` },
      ],
    });
    const archive = path.join(folder, 'layer.tar');
    await writeFile(archive, await encodeProvisioningLayer(files));
    const { stdout } = await execa('tar', ['-tvf', archive, '--numeric-owner', '--quoting-style=literal']);
    const names = stdout.split('\n').map((line) => line.split(/\s+/).slice(5).join(' '));
    expect(names).toEqual(
      files.map(({ path: name, linkTarget }) =>
        linkTarget === undefined ? name : `${name} -> ${linkTarget}`,
      ),
    );
    expect(stdout).toMatch(/^-rwsr-xr-x 0\/0 +1537 1970-01-01 .* opt\/größe$/m);
    for (const { path: name, content } of files) {
      if (content === undefined) continue;
      const { stdout: bytes } = await execa('tar', ['-xOf', archive, name], {
        encoding: 'buffer',
        stripFinalNewline: false,
      });
      expect(Buffer.from(bytes).equals(content), name).toBe(true);
    }
  });

  test('gives the same bytes for the same set', async () => {
    const [one, two] = await Promise.all([provisioningFiles(), provisioningFiles()]);
    expect((await encodeProvisioningLayer(one)).equals(await encodeProvisioningLayer(two))).toBe(true);
  });
});

describe('readStaticBusybox', () => {
  test('refuses a program that needs a loader, and what is no program', async () => {
    const failure = readStaticBusybox('test', process.execPath);
    await expect(failure).rejects.toMatchObject({
      code: 'TOOL_MISSING',
      context: { path: process.execPath },
    });
    expect(isStaticProgram(Buffer.from('#!/bin/sh\n'))).toBe(false);
    expect(isStaticProgram(Buffer.alloc(0))).toBe(false);
  });

  test('says so when there is none', async () => {
    const before = process.env.PATH;
    process.env.PATH = folder;
    try {
      await expect(readStaticBusybox('test')).rejects.toMatchObject({ code: 'TOOL_MISSING' });
    } finally {
      process.env.PATH = before;
    }
  });
});

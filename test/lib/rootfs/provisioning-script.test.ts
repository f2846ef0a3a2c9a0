/**
 * The scripts of the provisioning boot, run where they cannot do harm. Package and service managers are fakes here: that
 * real ones do what is asked of them is the matter of the test that boots a machine.
 */
import { readdirSync } from 'node:fs';
import { lstat, mkdir, readdir, readlink, rm, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { describe, expect, test } from 'vitest';
import { PAYLOAD_FOLDER, PROVISIONED_MARKER } from '../../../lib/rootfs/provisioning/config.js';
import { ProvisioningSandbox } from './provisioning-sandbox.js';

const GUEST = fileURLToPath(new URL('../../../lib/rootfs/provisioning/assets/guest/', import.meta.url));
const DEBIAN = 'ID=debian\nVERSION_ID="12"\n';
const ALPINE = 'ID=alpine\n';

/** What is below a folder, for comparing two states. */
async function snapshot(root: string): Promise<string[]> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  const volatile = /^(calls|run\/|usr\/local\/share\/rootloom\/provisioning)/;
  const lines = await Promise.all(
    entries.map(async (entry) => {
      const file = path.join(entry.parentPath, entry.name);
      const { mode, size } = await lstat(file);
      const target = entry.isSymbolicLink() ? ` -> ${await readlink(file)}` : '';
      return `${path.relative(root, file)} ${mode.toString(8)} ${entry.isFile() ? size : ''}${target}`;
    }),
  );
  return lines.filter((line) => !volatile.test(line)).sort();
}

async function exists(sandbox: ProvisioningSandbox, file: string): Promise<boolean> {
  return lstat(path.join(sandbox.root, file)).then(
    () => true,
    () => false,
  );
}

describe('shellcheck', () => {
  for (const name of readdirSync(GUEST)) {
    test(`finds nothing in ${name}`, async () => {
      const args = ['--shell', name === 'init' ? 'dash' : 'sh', name];
      const { stdout, exitCode } = await execa('shellcheck', args, { cwd: GUEST, reject: false });
      expect(stdout).toBe('');
      expect(exitCode).toBe(0);
    });
  }
});

describe('provision.sh on the debian family', () => {
  test('installs what is missing, enables services, and leaves no payload', async () => {
    await using sandbox = await ProvisioningSandbox.create('debian', DEBIAN);
    await sandbox.write('installed', 'systemd\nudev\n');
    const { code, calls, lines } = await sandbox.run({ packages: ['jq', 'provided-by-udev'] });
    expect(lines.join('\n')).toContain('Installing systemd-sysv dbus login');
    expect(code).toBe(0);
    const apt = calls.filter((call) => call.startsWith('apt-get')).map((call) => call.split(' '));
    const verbs = apt.map((words) => words.find((word) => /^(update|install|clean)$/.test(word)));
    expect(verbs).toEqual(['update', 'install', 'clean']);
    expect(apt[1]).toEqual(expect.arrayContaining(['--no-install-recommends', 'jq', 'qemu-guest-agent']));
    expect(apt[1]).not.toContain('udev');
    expect(apt[1]).not.toContain('provided-by-udev');
    expect(calls).toContain('policy 101');
    expect(calls).toContain('systemctl --quiet set-default multi-user.target');
    const units = 'ssh.service chrony.service systemd-networkd.service qemu-guest-agent.service';
    expect(calls).toContain(`systemctl --quiet enable ${units}`);
    expect(calls).toContain('passwd -l root');
    expect(calls.filter((call) => call.startsWith('update-ca-certificates'))).toHaveLength(1);
    expect(await exists(sandbox, PAYLOAD_FOLDER)).toBe(false);
    expect(await exists(sandbox, 'usr/sbin/policy-rc.d')).toBe(false);
    expect(JSON.parse(await sandbox.read(PROVISIONED_MARKER))).toEqual({
      ...{ version: 1, distribution: 'debian', family: 'debian', init: 'systemd', agent: 'qemu-guest-agent' },
    });
    expect(await sandbox.read('etc/machine-id')).toBe('');
    expect(await readlink(path.join(sandbox.root, 'sbin/init'))).toBe('/lib/systemd/systemd');
    expect(await sandbox.read('etc/systemd/network/10-rootloom.network')).toContain('Address=10.0.2.15/24');
    expect(await sandbox.read('etc/chrony/chrony.conf')).toBe('pool example\nconfdir /etc/chrony/conf.d\n');
    expect(await sandbox.read('etc/ssl/certs/ca-certificates.crt')).toBe('bundle\n');
    expect((await snapshot(sandbox.root)).filter((line) => line.includes('rootloom-new'))).toEqual([]);
  });

  test('is a no-op the second time: no package manager, the same tree', async () => {
    await using sandbox = await ProvisioningSandbox.create('debian', DEBIAN);
    await sandbox.run();
    const before = await snapshot(sandbox.root);
    const { code, calls, lines } = await sandbox.run();
    expect(code).toBe(0);
    expect(lines).toContain('Every package is installed');
    expect(calls.filter((call) => /^(apt|dpkg|update-ca)/.test(call))).toEqual([]);
    expect(await snapshot(sandbox.root)).toEqual(before);
  });

  test('fails when packages cannot be had, and continues when run again', async () => {
    await using sandbox = await ProvisioningSandbox.create('debian', DEBIAN);
    await sandbox.write('broken', '');
    const failed = await sandbox.run();
    expect(failed.code).toBe(100);
    expect(failed.lines).toContain('E: no network');
    await rm(path.join(sandbox.root, 'broken'));
    expect((await sandbox.run()).code).toBe(0);
    expect(await exists(sandbox, 'usr/sbin/policy-rc.d')).toBe(false);
  });

  test('keeps a policy of the image, but not the one that forbids every start', async () => {
    await using sandbox = await ProvisioningSandbox.create('debian', DEBIAN);
    const own = '#!/bin/sh\n[ "$1" != forbidden ] || exit 101\n';
    await sandbox.write('usr/sbin/policy-rc.d', own);
    await sandbox.run();
    expect(await sandbox.read('usr/sbin/policy-rc.d')).toBe(own);
    await sandbox.write('installed', '');
    await sandbox.write('usr/sbin/policy-rc.d', '#!/bin/sh\nexit 101\n');
    await sandbox.run();
    expect(await exists(sandbox, 'usr/sbin/policy-rc.d')).toBe(false);
  });

  test('keeps resolv.conf when a package links it elsewhere', async () => {
    await using sandbox = await ProvisioningSandbox.create('debian', DEBIAN);
    await sandbox.write('replaces-resolv-conf', '');
    const { code } = await sandbox.run({ network: { nameservers: ['192.0.2.1', '192.0.2.2'] } });
    expect(code).toBe(0);
    expect(await sandbox.read('etc/resolv.conf')).toBe('nameserver 192.0.2.1\nnameserver 192.0.2.2\n');
  });

  test("replaces fstab's line for the root filesystem alone", async () => {
    await using sandbox = await ProvisioningSandbox.create('debian', DEBIAN);
    await sandbox.write('etc/fstab', 'UUID=1234 / xfs defaults 0 1\ntmpfs /scratch tmpfs size=1m 0 0\n');
    await sandbox.run();
    const root = '/dev/vda / ext4 rw,discard,errors=remount-ro 0 0\n';
    expect(await sandbox.read('etc/fstab')).toBe(`${root}tmpfs /scratch tmpfs size=1m 0 0\n`);
  });

  test('masks no unit that the image wrote itself', async () => {
    await using sandbox = await ProvisioningSandbox.create('debian', DEBIAN);
    await sandbox.write('etc/systemd/system/man-db.timer', '[Timer]\n', 0o644);
    const { calls } = await sandbox.run();
    const masks = calls.filter((call) => call.startsWith('systemctl --quiet mask'));
    expect(masks).toHaveLength(1);
    expect(masks[0]).toContain('apt-daily.timer');
    expect(masks[0]).not.toContain('man-db.timer');
  });

  test('builds the CA bundle anew when a package asks for it, although there is one', async () => {
    await using sandbox = await ProvisioningSandbox.create('debian', DEBIAN);
    await sandbox.write('etc/ssl/certs/ca-certificates.crt', 'old\n', 0o644);
    await sandbox.run();
    expect(await sandbox.read('etc/ssl/certs/ca-certificates.crt')).toBe('bundle\n');
  });

  test('replaces a link by a file, and fails at a folder in the place of a file', async () => {
    await using sandbox = await ProvisioningSandbox.create('debian', DEBIAN);
    const file = 'etc/systemd/journald.conf.d/rootloom.conf';
    const target = path.join(sandbox.root, file);
    await mkdir(path.dirname(target), { recursive: true });
    await symlink('/dev/null', target);
    expect((await sandbox.run()).code).toBe(0);
    expect(await sandbox.read(file)).toContain('Storage=persistent');
    await rm(target);
    await mkdir(target);
    const { code, lines } = await sandbox.run();
    expect(code).toBe(1);
    expect(lines.at(-1)).toBe(`error: cannot replace /${file}: it is a directory`);
  });

  test('lets root in without a password only when asked to', async () => {
    await using sandbox = await ProvisioningSandbox.create('debian', DEBIAN);
    const { calls } = await sandbox.run({ rootLogin: 'empty' });
    expect(calls).toContain('passwd -d root');
    expect(calls).not.toContain('passwd -l root');
  });

  test("installs an injected agent in place of the distribution's", async () => {
    await using sandbox = await ProvisioningSandbox.create('debian', DEBIAN);
    const binary = path.join(sandbox.root, 'agent-on-the-host');
    await writeFile(binary, 'agent');
    const agent = { name: 'enva', binary, unit: '[Service]\nExecStart=/usr/local/bin/enva\n' };
    const { code, calls } = await sandbox.run({ agent });
    expect(code).toBe(0);
    expect(calls.some((call) => call.includes('qemu-guest-agent'))).toBe(false);
    expect(await sandbox.read('usr/local/bin/enva')).toBe('agent');
    expect(await sandbox.read('etc/systemd/system/enva.service')).toBe(agent.unit);
    const wanted = path.join(sandbox.root, 'etc/systemd/system/multi-user.target.wants/enva.service');
    expect(await readlink(wanted)).toBe('/etc/systemd/system/enva.service');
    expect(await sandbox.read('etc/systemd/system-preset/00-rootloom.preset')).toContain(
      'enable enva.service',
    );
  });
});

describe('provision.sh on Alpine', () => {
  test('installs what is missing and puts services into run levels', async () => {
    await using sandbox = await ProvisioningSandbox.create('alpine', ALPINE);
    await sandbox.write('etc/inittab', 'tty1::respawn:/sbin/getty 38400 tty1\n', 0o644);
    await sandbox.write('installed', 'sudo\n');
    const { code, calls, lines } = await sandbox.run({ packages: ['jq'] });
    expect(lines).toContain('Provisioned');
    expect(code).toBe(0);
    const packages = 'alpine-base openrc iproute2 openssh chrony ca-certificates qemu-guest-agent jq';
    expect(calls[0]).toBe(`apk add --no-cache --no-progress ${packages}`);
    expect(calls.filter((call) => call.startsWith('rc-update'))).toEqual([
      'rc-update --quiet add devfs sysinit',
      'rc-update --quiet add mdev sysinit',
      'rc-update --quiet add hostname boot',
      'rc-update --quiet add networking boot',
      'rc-update --quiet add sshd default',
      'rc-update --quiet add chronyd default',
      'rc-update --quiet add qemu-guest-agent default',
      'rc-update --quiet add mount-ro shutdown',
    ]);
    expect(await sandbox.read('etc/inittab')).toContain('ttyS0::respawn:');
    expect(await sandbox.read('etc/network/interfaces')).toContain('address 10.0.2.15/24');
    expect(await sandbox.read('etc/conf.d/chronyd')).toBe('FAST_STARTUP=yes\n');
    expect(await readlink(path.join(sandbox.root, 'sbin/init'))).toBe('/bin/busybox');
    expect(await exists(sandbox, 'etc/systemd')).toBe(false);
    expect(await exists(sandbox, PAYLOAD_FOLDER)).toBe(false);
    const marker = JSON.parse(await sandbox.read(PROVISIONED_MARKER));
    expect(marker).toMatchObject({ family: 'alpine', init: 'openrc' });
  });

  test('is a no-op the second time', async () => {
    await using sandbox = await ProvisioningSandbox.create('alpine', ALPINE);
    await sandbox.run();
    const before = await snapshot(sandbox.root);
    const { code, calls } = await sandbox.run();
    expect(code).toBe(0);
    expect(calls.filter((call) => call.startsWith('apk'))).toEqual([]);
    expect(await snapshot(sandbox.root)).toEqual(before);
  });

  test('fails with an injected agent that has no OpenRC service', async () => {
    await using sandbox = await ProvisioningSandbox.create('alpine', ALPINE);
    const agent = { name: 'enva', binary: path.join(sandbox.root, 'sbin/openrc'), unit: '[Service]\n' };
    const { code, lines } = await sandbox.run({ agent });
    expect(code).toBe(1);
    expect(lines.at(-1)).toBe('error: the service enva is not installed');
    expect((await sandbox.run({ agent: { ...agent, openrc: '#!/sbin/openrc-run\n' } })).code).toBe(0);
    expect((await lstat(path.join(sandbox.root, 'etc/init.d/enva'))).mode & 0o777).toBe(0o755);
  });
});

/**
 * The provisioning files that are the same for every image: real files under assets/, listed here by name.
 *
 * assets/guest is what runs in the provisioning boot. assets/systemd and assets/openrc are staged in the payload, and the
 * script installs the one that the image's init system needs. assets/common goes where it says.
 */
import { readFile } from 'node:fs/promises';
import { CODE_ROOT } from '../../util/package.js';
import { withSystemErrors } from '../../util/system-error.js';
import { PAYLOAD_FOLDER } from './config.js';

const ASSETS_FOLDER = new URL('./rootfs/provisioning/assets/', CODE_ROOT);

/** Asset → what it is for. */
const PURPOSES: Readonly<Record<string, string>> = {
  'guest/init': 'PID 1 of the provisioning boot',
  'guest/provision.sh': 'makes the image bootable with its own init system',
  'guest/debian.sh': 'packages of the debian family',
  'guest/alpine.sh': 'packages of Alpine',
  'guest/systemd.sh': 'services under systemd',
  'guest/openrc.sh': 'services under OpenRC',
  'common/etc/chrony/conf.d/rootloom.conf': 'corrects the clock of a resumed snapshot',
  'common/etc/sysctl.d/60-rootloom.conf': 'file watchers; no background compaction',
  'systemd/etc/systemd/journald.conf.d/rootloom.conf': 'a small journal that survives a reboot',
  'systemd/etc/systemd/system/serial-getty@ttyS0.service.d/rootloom.conf':
    "root's shell on the serial console",
  'systemd/etc/systemd/system/systemd-journald.service.d/rootloom.conf':
    'no watchdog: snapshots stop the clock',
  'systemd/etc/systemd/system/systemd-logind.service.d/rootloom.conf':
    'no watchdog: snapshots stop the clock',
  'systemd/etc/systemd/system/systemd-networkd.service.d/rootloom.conf':
    'no watchdog: snapshots stop the clock',
  'systemd/etc/systemd/system/systemd-udevd.service.d/rootloom.conf': 'no watchdog: snapshots stop the clock',
  'openrc/etc/inittab': "OpenRC's run levels, and the serial console",
  'openrc/usr/local/sbin/rootloom-autologin': "root's shell on the serial console",
};

export interface Asset {
  /** Path in the image. */
  readonly path: string;
  readonly mode: number;
  readonly content: Buffer;
  readonly purpose: string;
}

function targetOf(name: string): string {
  const [, kind, rest] = /^([a-z]+)\/(.*)$/.exec(name) as unknown as [string, string, string];
  if (kind === 'common') return rest;
  return kind === 'guest' ? `${PAYLOAD_FOLDER}/${rest}` : `${PAYLOAD_FOLDER}/${kind}/${rest}`;
}

/** Reads every asset. A file that begins with `#!` is a program. */
export async function readAssets(): Promise<Asset[]> {
  return Promise.all(
    Object.entries(PURPOSES).map(async ([name, purpose]) => {
      const url = new URL(name, ASSETS_FOLDER);
      const content = await withSystemErrors('read the asset', url.pathname, () => readFile(url));
      const mode = content.subarray(0, 2).toString('latin1') === '#!' ? 0o755 : 0o644;
      return { path: targetOf(name), mode, content, purpose };
    }),
  );
}

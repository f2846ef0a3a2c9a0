/**
 * Which distributions can be provisioned, and what each family needs.
 *
 * The one table of it: the guest's script gets it through its `config`, so that a builder which looks at the image's
 * os-release beforehand and the script in the guest always decide alike.
 */
import { RootloomError } from '../../errors.js';

export interface DistributionFamily {
  readonly name: 'debian' | 'alpine';
  /** Values of os-release's ID that are known to work. */
  readonly ids: readonly string[];
  readonly init: 'systemd' | 'openrc';
  /** Packages without which a disk is not provisioned, but for the guest agent. */
  readonly packages: readonly string[];
  readonly agentPackage: string;
}

export const DISTRIBUTION_FAMILIES: readonly DistributionFamily[] = [
  {
    name: 'debian',
    ids: ['debian', 'ubuntu'],
    init: 'systemd',
    packages: [
      ...['systemd', 'systemd-sysv', 'udev', 'dbus', 'login', 'iproute2'],
      ...['openssh-server', 'sudo', 'chrony', 'ca-certificates'],
    ],
    agentPackage: 'qemu-guest-agent',
  },
  {
    name: 'alpine',
    ids: ['alpine'],
    init: 'openrc',
    packages: ['alpine-base', 'openrc', 'iproute2', 'openssh', 'sudo', 'chrony', 'ca-certificates'],
    agentPackage: 'qemu-guest-agent',
  },
];

/** IDs that are refused before their ID_LIKE is looked at: it would mislead. */
export const REJECTED_DISTRIBUTIONS: Readonly<Record<string, string>> = {
  amzn: 'its packages are not those of the family it names',
  antix: 'it has no systemd',
  devuan: 'it has no systemd',
  ol: 'its packages are not those of the family it names',
  postmarketos: 'its init system differs from release to release',
  rhel: 'its packages need a subscription',
};

export interface Distribution {
  readonly id: string;
  readonly family: DistributionFamily;
  /** Said once to the user: the distribution is only assumed to work like a known one. */
  readonly warning?: string;
}

/** The fields of an os-release file: shell assignments, of which quotes and backslashes are undone. */
export function parseOsRelease(text: string): Readonly<Record<string, string>> {
  const fields: Record<string, string> = {};
  for (const line of text.split('\n')) {
    const [, key, value] = /^([A-Z][A-Z0-9_]*)=(.*?)\s*$/.exec(line) ?? [];
    if (key === undefined || value === undefined) continue;
    const quoted = /^(["'])(.*)\1$/.exec(value);
    const inner = quoted?.[2] ?? value;
    fields[key] = quoted?.[1] === "'" ? inner : inner.replace(/\\(.)/g, '$1');
  }
  return fields;
}

function familyOf(id: string): DistributionFamily | undefined {
  return DISTRIBUTION_FAMILIES.find(({ ids }) => ids.includes(id));
}

/** The error for an image whose distribution is not among the known ones. */
export function unsupportedDistribution(id: string, reason?: string): RootloomError {
  const known = DISTRIBUTION_FAMILIES.flatMap(({ ids }) => ids).join(', ');
  return new RootloomError(
    'UNSUPPORTED_DISTRIBUTION',
    `Cannot provision the distribution ${id}: ${reason ?? 'it is not known'}, one of ${known} was wanted`,
    { operation: 'provision the disk' },
  );
}

/**
 * Tells an image's distribution by the text of its os-release file; `undefined` when it has none.
 *
 * @throws RootloomError UNSUPPORTED_DISTRIBUTION, naming the ID.
 */
export function detectDistribution(osRelease: string | undefined): Distribution {
  if (osRelease === undefined) throw unsupportedDistribution('unknown', 'the image has no os-release file');
  const fields = parseOsRelease(osRelease);
  const id = (fields.ID ?? '').replace(/[^A-Za-z0-9._-]/g, '') || 'linux';
  if (Object.hasOwn(REJECTED_DISTRIBUTIONS, id))
    throw unsupportedDistribution(id, REJECTED_DISTRIBUTIONS[id]);
  const family = familyOf(id);
  if (family !== undefined) return { id, family };
  for (const like of (fields.ID_LIKE ?? '').split(/\s+/)) {
    const likeFamily = familyOf(like);
    if (likeFamily === undefined) continue;
    return { id, family: likeFamily, warning: `${id} is not known, it is provisioned like ${like}` };
  }
  throw unsupportedDistribution(id);
}

/**
 * What the host and the scripts in the guest agree on, and the `config` that tells the scripts.
 *
 * `config` is a list of shell assignments, sourced by assets/guest/init and assets/guest/provision.sh.
 */
import { DISTRIBUTION_FAMILIES, type DistributionFamily, REJECTED_DISTRIBUTIONS } from './distribution.js';
import type { ResolvedOptions } from './options.js';

/** Where the payload of the provisioning boot lies in the image until it has run; assets/guest/init says so too. */
export const PAYLOAD_FOLDER = 'usr/local/share/rootloom/provisioning';

/** The kernel's `init=` of a provisioning boot. */
export const PROVISIONING_INIT = `/${PAYLOAD_FOLDER}/init`;

/** Left in a provisioned image, as JSON: version, distribution, family, init, agent. */
export const PROVISIONED_MARKER = 'usr/local/share/rootloom/provisioned.json';

/** Begins the console line that ends a provisioning boot; the exit code of the script follows. */
export const EXIT_MARKER = 'ROOTLOOM_PROVISIONING_EXIT:';
/** Begins the console line that names the distribution which the script found. */
export const DISTRIBUTION_MARKER = 'ROOTLOOM_PROVISIONING_DISTRIBUTION:';
/** Begins each console line that the script printed. */
export const LOG_PREFIX = '[provision] ';
/** The script's exit code for a distribution that it does not know. */
export const EXIT_UNSUPPORTED = 69;

/** The root filesystem, for `mount -a` and fsck: deleted blocks are given back, and nothing is checked at boot. */
const ROOT_FSTAB_LINE = '/dev/vda / ext4 rw,discard,errors=remount-ro 0 0';

function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function family(name: DistributionFamily['name']): DistributionFamily {
  return DISTRIBUTION_FAMILIES.find((candidate) => candidate.name === name) as DistributionFamily;
}

/** Renders `config`. */
export function renderConfig(options: ResolvedOptions): string {
  const packages = ({ packages: own, agentPackage }: DistributionFamily) =>
    [...own, ...(options.agent === undefined ? [agentPackage] : [])].join(' ');
  const values: Record<string, string> = {
    EXIT_MARKER,
    DISTRIBUTION_MARKER,
    LOG_PREFIX,
    EXIT_UNSUPPORTED: String(EXIT_UNSUPPORTED),
    NETWORK_ADDRESS: options.address,
    NETWORK_GATEWAY: options.gateway,
    DEBIAN_IDS: family('debian').ids.join(' '),
    DEBIAN_PACKAGES: packages(family('debian')),
    ALPINE_IDS: family('alpine').ids.join(' '),
    ALPINE_PACKAGES: packages(family('alpine')),
    REJECTED_IDS: Object.keys(REJECTED_DISTRIBUTIONS).join(' '),
    EXTRA_PACKAGES: options.packages.join(' '),
    AGENT_SERVICE: options.agent?.name ?? 'qemu-guest-agent',
    ROOT_LOGIN: options.rootLogin,
    ROOT_FSTAB_LINE,
  };
  return Object.entries(values)
    .map(([key, value]) => `${key}=${quote(value)}\n`)
    .join('');
}

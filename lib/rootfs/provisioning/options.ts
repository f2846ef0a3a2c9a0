/** What a caller may choose about provisioning, and the checks of it. */
import { isIP, isIPv4 } from 'node:net';
import { PAYLOAD_FOLDER } from './config.js';

/** An agent that is injected instead of the distribution's qemu-guest-agent. */
export interface InjectedAgent {
  /** Name of its service and of its binary, /usr/local/bin/<name>. */
  name: string;
  /** Path on this host of a binary that runs in the guest. */
  binary: string;
  /** Text of its systemd unit. */
  unit: string;
  /** Text of its OpenRC service script; an Alpine image cannot be provisioned without. */
  openrc?: string | undefined;
}

/** A file or link put into the image as it is. Owner root, mode 0644 unless said otherwise. */
export type ExtraFile = {
  /** Where, from the image's root. */
  path: string;
  mode?: number | undefined;
  uid?: number | undefined;
  gid?: number | undefined;
} & (
  | { content: string | Uint8Array }
  /** Path on this host of the file whose content is taken. */
  | { source: string }
  | { linkTarget: string }
);

/** The machine's one network interface. The defaults are those of QEMU's user networking. */
export interface GuestNetwork {
  /** IPv4 address with prefix length. Default 10.0.2.15/24. */
  address?: string | undefined;
  /** Default 10.0.2.2. */
  gateway?: string | undefined;
  /** Default 10.0.2.3. */
  nameservers?: readonly string[] | undefined;
}

export interface ProvisioningOptions {
  /** Default `rootloom`. */
  hostname?: string | undefined;
  network?: GuestNetwork | undefined;
  /** Names of packages of the distribution, installed besides those that provisioning needs. */
  packages?: readonly string[] | undefined;
  files?: readonly ExtraFile[] | undefined;
  agent?: InjectedAgent | undefined;
  /**
   * Whether root has a password: `locked` (the default) has none that matches, and ssh takes keys alone; `empty` lets
   * anyone in who reaches the console or the ssh port, for sandboxes whose network is closed.
   */
  rootLogin?: 'locked' | 'empty' | undefined;
  /** Path on this host of a statically linked busybox for the guest. Default: `busybox` on PATH. */
  busybox?: string | undefined;
}

/** Options with every default filled in. */
export interface ResolvedOptions {
  readonly hostname: string;
  readonly address: string;
  readonly gateway: string;
  readonly nameservers: readonly string[];
  readonly packages: readonly string[];
  readonly files: readonly ExtraFile[];
  readonly agent: InjectedAgent | undefined;
  readonly rootLogin: 'locked' | 'empty';
  readonly busybox: string | undefined;
}

function check(isRight: boolean, what: string, value: unknown, wanted: string): void {
  if (!isRight) {
    throw new RangeError(
      `Cannot use the provisioning option ${what}: it is ${JSON.stringify(value)}, ${wanted} was wanted`,
    );
  }
}

function isHostname(name: string): boolean {
  return (
    name.length <= 64 &&
    /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/i.test(name)
  );
}

function isAddressWithPrefix(text: string): boolean {
  const [, address, prefix] = /^(.*)\/(\d{1,2})$/.exec(text) ?? [];
  return address !== undefined && isIPv4(address) && Number(prefix) <= 32;
}

/** The path of an extra file as the set has it, without a leading slash. Throws RangeError for one that cannot be. */
export function parseExtraPath(text: string): string {
  const path = text.replace(/^\/+/, '');
  const parts = path.split('/');
  const isPlain = !path.includes('\0') && parts.every((part) => part !== '' && part !== '.' && part !== '..');
  check(isPlain, 'files', text, "a plain path from the image's root");
  const isPayload = `${path}/`.startsWith(`${PAYLOAD_FOLDER}/`);
  check(!isPayload, 'files', text, 'a folder that is not deleted after provisioning');
  return path;
}

function checkExtraFiles(files: readonly ExtraFile[]): void {
  const paths = new Set<string>();
  for (const { path, mode = 0 } of files) {
    check(!paths.has(parseExtraPath(path)), 'files', path, 'a path that no other extra file has');
    paths.add(parseExtraPath(path));
    check(Number.isInteger(mode) && mode >= 0 && mode <= 0o7777, `files: ${path}`, mode, 'permission bits');
  }
}

/**
 * Fills in the defaults.
 *
 * @throws RangeError for a value that would not mean what its caller thinks: these texts end up in shell words and
 *   configuration files of the guest.
 */
export function resolveOptions(options: ProvisioningOptions): ResolvedOptions {
  const {
    hostname = 'rootloom',
    network = {},
    packages = [],
    files = [],
    agent,
    rootLogin = 'locked',
  } = options;
  const { address = '10.0.2.15/24', gateway = '10.0.2.2', nameservers = ['10.0.2.3'] } = network;
  check(isHostname(hostname), 'hostname', hostname, 'a host name');
  check(isAddressWithPrefix(address), 'network.address', address, 'an IPv4 address with its prefix length');
  check(isIPv4(gateway), 'network.gateway', gateway, 'an IPv4 address');
  check(nameservers.length > 0, 'network.nameservers', nameservers, 'at least one address');
  for (const server of nameservers) check(isIP(server) !== 0, 'network.nameservers', server, 'an IP address');
  for (const name of packages)
    check(/^[A-Za-z0-9][A-Za-z0-9+._-]*$/.test(name), 'packages', name, 'a package name');
  checkExtraFiles(files);
  check(rootLogin === 'locked' || rootLogin === 'empty', 'rootLogin', rootLogin, '"locked" or "empty"');
  if (agent !== undefined) {
    check(/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(agent.name), 'agent.name', agent.name, 'the name of a service');
    check(
      /^\[Service\]/m.test(agent.unit),
      'agent.unit',
      agent.unit,
      'the text of a systemd unit with a [Service]',
    );
  }
  return {
    hostname,
    address,
    gateway,
    nameservers,
    packages,
    files,
    agent,
    rootLogin,
    busybox: options.busybox,
  };
}

/** The provisioning files that depend on the options. */
import { PAYLOAD_FOLDER, renderConfig } from './config.js';
import type { InjectedAgent, ResolvedOptions } from './options.js';

export interface GeneratedFile {
  readonly path: string;
  readonly mode: number;
  readonly content: string;
  readonly purpose: string;
}

function hosts({ hostname }: ResolvedOptions): string {
  const [shortName] = hostname.split('.');
  const names = shortName === hostname ? hostname : `${hostname} ${shortName}`;
  return `127.0.0.1 localhost\n127.0.1.1 ${names}\n::1 localhost ip6-localhost ip6-loopback\n`;
}

function resolvConf({ nameservers }: ResolvedOptions): string {
  return nameservers.map((server) => `nameserver ${server}\n`).join('');
}

function sshConfig({ rootLogin }: ResolvedOptions): string {
  return rootLogin === 'empty'
    ? 'PermitRootLogin yes\nPasswordAuthentication yes\nPermitEmptyPasswords yes\n'
    : 'PermitRootLogin prohibit-password\nPermitEmptyPasswords no\n';
}

function networkd({ address, gateway, nameservers }: ResolvedOptions): string {
  return [
    '[Match]',
    'Driver=virtio_net',
    '',
    '[Network]',
    `Address=${address}`,
    `Gateway=${gateway}`,
    ...nameservers.map((server) => `DNS=${server}`),
    'LinkLocalAddressing=no',
    'IPv6AcceptRA=no',
    '',
  ].join('\n');
}

function interfaces({ address, gateway }: ResolvedOptions): string {
  return `auto lo\niface lo inet loopback\n\nauto eth0\niface eth0 inet static\n\taddress ${address}\n\tgateway ${gateway}\n`;
}

/** Keeps what a sandbox needs when services are reset to their presets. */
function preset({ agent }: ResolvedOptions): string {
  return ['chrony', 'ssh', 'systemd-networkd', agent?.name ?? 'qemu-guest-agent']
    .map((service) => `enable ${service}.service\n`)
    .join('');
}

function agentServices(agent: InjectedAgent): GeneratedFile[] {
  const files = [
    {
      path: `${PAYLOAD_FOLDER}/systemd/etc/systemd/system/${agent.name}.service`,
      mode: 0o644,
      content: agent.unit,
      purpose: "the injected agent's unit",
    },
  ];
  if (agent.openrc !== undefined) {
    files.push({
      path: `${PAYLOAD_FOLDER}/openrc/etc/init.d/${agent.name}`,
      mode: 0o755,
      content: agent.openrc,
      purpose: "the injected agent's OpenRC service",
    });
  }
  return files;
}

export function generateFiles(options: ResolvedOptions): GeneratedFile[] {
  const text = (path: string, content: string, purpose: string) => ({ path, mode: 0o644, content, purpose });
  const systemd = `${PAYLOAD_FOLDER}/systemd/etc/systemd`;
  return [
    text(`${PAYLOAD_FOLDER}/config`, renderConfig(options), 'options and constants of the scripts'),
    text('etc/hostname', `${options.hostname}\n`, 'the name of the machine'),
    text('etc/hosts', hosts(options), 'the machine knows its own name'),
    text('etc/resolv.conf', resolvConf(options), 'name servers, in the provisioning boot and after'),
    text('etc/ssh/sshd_config.d/00-rootloom.conf', sshConfig(options), 'whether root may log in over ssh'),
    text(`${systemd}/network/10-rootloom.network`, networkd(options), 'address of the virtio interface'),
    text(`${systemd}/system-preset/00-rootloom.preset`, preset(options), 'services that stay enabled'),
    text(
      `${PAYLOAD_FOLDER}/openrc/etc/network/interfaces`,
      interfaces(options),
      'address of the virtio interface',
    ),
    ...(options.agent === undefined ? [] : agentServices(options.agent)),
  ];
}

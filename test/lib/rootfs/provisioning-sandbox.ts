/**
 * A folder in which the provisioning script believes to be in a guest: a few real tools, and fakes that write down how
 * they were called in place of the package manager and the service manager.
 */
import { chmod, cp, mkdir, mkdtemp, readFile, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { execa } from 'execa';
import { type ProvisioningOptions, provisioningFiles } from '../../../lib/rootfs/provisioning/files.js';

const TOOLS = [
  ...['awk', 'cat', 'chmod', 'cp', 'dirname', 'find', 'grep', 'ln', 'mkdir', 'mv', 'readlink', 'rm', 'sed'],
  ...['tail', 'touch', 'tr'],
];

const record = `printf "%s\\n" "\${0##*/} $*" >>/calls\n`;

/** Installing adds to /installed, unless /broken says that the network is down. */
const installer = `${record}[ ! -e /broken ] || { echo 'E: no network'; exit 100; }\n`;

const certificates = `${record}mkdir -p /etc/ssl/certs; echo bundle >/etc/ssl/certs/ca-certificates.crt`;

const FAKES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  debian: {
    'usr/bin/apt-get': `${installer}
take=
for word in "$@"; do
  case $word in
    install) take=yes; /usr/sbin/policy-rc.d some start; echo "policy $?" >>/calls ;;
    -*) ;;
    *) [ -z "$take" ] || echo "$word" >>/installed ;;
  esac
done
[ -n "$take" ] || exit 0
path=$(printf '%s\n' "$@" | sed -n 's/^Dpkg::Path=//p')
PATH=$path update-ca-certificates
mkdir -p /etc/chrony; echo pool example >/etc/chrony/chrony.conf
[ ! -e /replaces-resolv-conf ] || ln -sf /run/stub /etc/resolv.conf`,
    'usr/bin/dpkg': `[ "$1" != --audit ] || exit 0\n${record}`,
    'usr/bin/dpkg-query':
      'while read -r name; do echo "installed $name provided-by-$name (= 1), other"; done </installed',
    'usr/bin/systemctl': record,
    'usr/bin/passwd': record,
    'usr/sbin/update-ca-certificates': certificates,
    'lib/systemd/systemd': 'exit 0',
  },
  alpine: {
    'sbin/apk': `
if [ "$1" = info ]; then grep -qxF "$4" /installed; exit; fi
${installer}
for word in "$@"; do
  case $word in add | -*) ;; *) echo "$word" >>/installed ;; esac
done
mkdir -p /etc/init.d /etc/conf.d /etc/chrony
: >/etc/conf.d/chronyd
echo pool example >/etc/chrony/chrony.conf
for service in sshd chronyd qemu-guest-agent devfs mdev hostname networking mount-ro; do : >/etc/init.d/$service; done`,
    'sbin/rc-update': record,
    'sbin/openrc': 'exit 0',
    'usr/bin/passwd': record,
    'usr/sbin/update-ca-certificates': certificates,
  },
};

export interface SandboxRun {
  code: number;
  lines: string[];
  /** Calls of this run, in order. */
  calls: string[];
}

export class ProvisioningSandbox {
  private constructor(readonly root: string) {}

  /** @param osRelease Undefined: the image has no such file. */
  static async create(
    family: 'debian' | 'alpine',
    osRelease: string | undefined,
  ): Promise<ProvisioningSandbox> {
    const root = await mkdtemp(path.join(await realpath(tmpdir()), 'rootloom-sandbox-'));
    const sandbox = new ProvisioningSandbox(root);
    await sandbox.#addTools();
    for (const [file, body] of Object.entries(FAKES[family] ?? {})) {
      await sandbox.write(file, `#!/bin/sh\n${body}\n`);
    }
    await sandbox.write('installed', '', 0o644);
    if (osRelease !== undefined) await sandbox.write('etc/os-release', osRelease, 0o644);
    return sandbox;
  }

  async write(file: string, content: string | Uint8Array, mode = 0o755): Promise<void> {
    const target = path.join(this.root, file);
    await mkdir(path.dirname(target), { recursive: true });
    await rm(target, { force: true });
    await writeFile(target, content);
    await chmod(target, mode);
  }

  read(file: string): Promise<string> {
    return readFile(path.join(this.root, file), 'utf8');
  }

  /** Writes the provisioning files, moves the payload to where the boot does, and runs the script. */
  async run(options: ProvisioningOptions = {}): Promise<SandboxRun> {
    for (const file of await provisioningFiles(options)) {
      const target = path.join(this.root, file.path);
      if (file.content !== undefined) {
        await this.write(file.path, file.content, file.mode);
      } else {
        await mkdir(path.dirname(target), { recursive: true });
        await rm(target, { force: true });
        await symlink(file.linkTarget, target);
      }
    }
    const memory = path.join(this.root, 'run/rootloom');
    await rm(memory, { recursive: true, force: true });
    await cp(path.join(this.root, 'usr/local/share/rootloom/provisioning'), memory, {
      recursive: true,
      verbatimSymlinks: true,
    });
    await this.write('calls', '', 0o644);
    const command = ['chroot', this.root, '/bin/sh', '/run/rootloom/provision.sh'];
    const [program, ...args] =
      process.getuid?.() === 0 ? command : ['unshare', '--map-root-user', ...command];
    const { exitCode = -1, all } = await execa(program as string, args, {
      reject: false,
      all: true,
      env: { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' },
    });
    const calls = (await this.read('calls')).split('\n').filter((line) => line !== '');
    return { code: exitCode, lines: all.split('\n'), calls };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.root, { recursive: true, force: true });
  }

  /** A shell that looks up programs on PATH alone, with its libraries: busybox's own takes its applets first. */
  async #addTools(): Promise<void> {
    const { stdout } = await execa('ldd', ['/bin/sh']);
    const libraries = [...stdout.matchAll(/(\/[^ ]+) \(0x/g)].map(([, library]) => library as string);
    for (const file of ['/bin/sh', ...libraries]) await this.write(file, await readFile(file));
    const busybox = (await provisioningFiles()).find(({ path: name }) => name.endsWith('/busybox'));
    await this.write('bin/busybox', busybox?.content as Buffer);
    for (const tool of TOOLS) await symlink('busybox', path.join(this.root, 'bin', tool));
    for (const folder of ['sbin', 'var']) await mkdir(path.join(this.root, folder));
    await this.write('dev/null', '', 0o666);
  }
}

/**
 * QEMU's command line, as a function of what is wanted and of nothing else.
 *
 * A snapshot's device state fits a machine made by the same line only. What may differ is outside of it: paths, whether
 * memory is shared with its file, and the kernel, which a restored guest has in its memory already.
 */
import type { MachineDescription } from './machine.js';

/** Where the kernel's messages go, and what makes a guest that cannot go on end at once instead of hanging. */
const KERNEL_ARGUMENTS = [
  'console=ttyS0',
  'panic=-1',
  'reboot=t',
  'quiet',
  'pci=off',
  'net.ifnames=0',
  'random.trust_cpu=on',
] as const;

export interface QemuDisk {
  /** The unix socket of an NBD server. */
  socketPath: string;
  exportName: string;
}

export interface QemuCommandSpec {
  /** The QEMU program. */
  program: string;
  machine: Pick<MachineDescription, 'accelerator' | 'cpus' | 'memoryBytes' | 'network'>;
  /** The file behind the guest's memory; not shared: what the guest writes stays out of it. */
  memory: { path: string; shared: boolean };
  /** Unix sockets that QEMU connects to. */
  qmpSocket: string;
  agentSocket: string;
  /** Absent only in a probe. */
  disk?: QemuDisk | undefined;
  /** What to start, or that a snapshot's state is to come. */
  start: { kernelFile: string; initramfsFile: string; commandLine: string } | 'incoming';
}

/** The kernel's command line. `tscKhz` is for an accelerator under which the guest cannot measure it. */
export function kernelCommandLine(options: {
  tscKhz: number | undefined;
  init?: string | undefined;
  extra?: readonly string[] | undefined;
}): string {
  const { tscKhz, init, extra = [] } = options;
  // All virtual processors read one host counter, so the kernel need not doubt that they agree. The early rate spares it a
  // measurement against an emulated timer, which fails on a busy host, and without which it waits for ever.
  const clock = tscKhz === undefined ? [] : [`tsc_early_khz=${tscKhz}`, 'tsc=reliable'];
  const start = init === undefined ? [] : [`init=${init}`];
  return [...KERNEL_ARGUMENTS, ...clock, ...start, ...extra].join(' ');
}

/** The program and its arguments. */
export function qemuCommand(spec: QemuCommandSpec): string[] {
  const { accelerator, cpus, memoryBytes, network } = spec.machine;
  return [
    spec.program,
    ...['-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none'],
    ...['-name', 'rootloom'],
    ...['-machine', 'microvm,acpi=on,rtc=on,pit=off,pic=off,dump-guest-core=off,memory-backend=memory'],
    ...accelerationArguments(accelerator),
    ...['-smp', `${cpus}`, '-m', `size=${memoryBytes}B`],
    ...objectArgument({
      'qom-type': 'memory-backend-file',
      id: 'memory',
      size: memoryBytes,
      'mem-path': spec.memory.path,
      share: spec.memory.shared,
    }),
    // The console on standard output; Ctrl-C and the like are not QEMU's.
    ...['-chardev', 'stdio,id=console,signal=off', '-serial', 'chardev:console'],
    ...socketArguments('qmp', spec.qmpSocket),
    ...['-mon', 'chardev=qmp,mode=control'],
    ...['-device', 'virtio-serial-device', ...socketArguments('agent', spec.agentSocket)],
    ...['-device', 'virtserialport,chardev=agent,name=org.qemu.guest_agent.0'],
    ...['-device', 'virtio-rng-device'],
    ...(spec.disk === undefined ? [] : diskArguments(spec.disk)),
    ...(network ? ['-netdev', 'user,id=net', '-device', 'virtio-net-device,netdev=net'] : []),
    ...startArguments(spec.start),
  ];
}

function accelerationArguments(accelerator: 'kvm' | 'tcg'): string[] {
  return accelerator === 'kvm'
    ? ['-accel', 'kvm', '-cpu', 'host']
    : ['-accel', 'tcg,thread=multi', '-cpu', 'max'];
}

function socketArguments(id: string, path: string): string[] {
  return ['-chardev', `socket,id=${id},server=off,path=${escapeCommas(path)}`];
}

/**
 * Trims of the guest, and zeros that it writes, reach the server as such. What the server refuses is an error in the guest, too:
 * by itself QEMU would stop the machine when the host is full, and nobody would know why it hangs.
 */
function diskArguments({ socketPath, exportName }: QemuDisk): string[] {
  const block = {
    driver: 'nbd',
    'node-name': 'disk',
    server: { type: 'unix', path: socketPath },
    export: exportName,
    discard: 'unmap',
    'detect-zeroes': 'unmap',
  };
  return [
    ...['-blockdev', JSON.stringify(block)],
    ...[
      '-device',
      'virtio-blk-device,drive=disk,physical_block_size=4096,discard_granularity=4096,werror=report',
    ],
  ];
}

function startArguments(start: QemuCommandSpec['start']): string[] {
  if (start === 'incoming') return ['-incoming', 'defer'];
  const { kernelFile, initramfsFile, commandLine } = start;
  return ['-kernel', kernelFile, '-initrd', initramfsFile, '-append', commandLine];
}

function objectArgument(properties: Record<string, string | number | boolean>): string[] {
  return ['-object', JSON.stringify(properties)];
}

/** In QEMU's key=value lists a comma is written twice. */
function escapeCommas(value: string): string {
  return value.replaceAll(',', ',,');
}

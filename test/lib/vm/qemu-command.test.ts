import { expect, test } from 'vitest';
import { kernelCommandLine, type QemuCommandSpec, qemuCommand } from '../../../lib/vm/qemu-command.js';

const spec: QemuCommandSpec = {
  program: '/usr/bin/qemu-system-x86_64',
  machine: { accelerator: 'tcg', cpus: 2, memoryBytes: 512 << 20, network: true },
  memory: { path: '/run/vm/memory', shared: true },
  qmpSocket: '/run/vm/qmp.sock',
  agentSocket: '/run/vm/agent.sock',
  disk: { socketPath: '/run/vm/disk.sock', exportName: 'root' },
  start: { kernelFile: '/k/kernel', initramfsFile: '/k/initramfs', commandLine: 'init=/sbin/init' },
};

/** The values of an option, in order. */
function valuesOf(command: readonly string[], option: string): string[] {
  return command.flatMap((word, index) => (word === option ? [command[index + 1] as string] : []));
}

test('qemuCommand writes the whole line', () => {
  const command = qemuCommand(spec);
  expect(command[0]).toBe('/usr/bin/qemu-system-x86_64');
  expect(valuesOf(command, '-machine')).toEqual([
    'microvm,acpi=on,rtc=on,pit=off,pic=off,dump-guest-core=off,memory-backend=memory',
  ]);
  expect(valuesOf(command, '-accel')).toEqual(['tcg,thread=multi']);
  expect(valuesOf(command, '-cpu')).toEqual(['max']);
  expect(valuesOf(command, '-m')).toEqual(['size=536870912B']);
  expect(valuesOf(command, '-object').map((text) => JSON.parse(text))).toEqual([
    {
      'qom-type': 'memory-backend-file',
      id: 'memory',
      size: 536870912,
      'mem-path': '/run/vm/memory',
      share: true,
    },
  ]);
  expect(valuesOf(command, '-blockdev').map((text) => JSON.parse(text))).toEqual([
    {
      driver: 'nbd',
      'node-name': 'disk',
      server: { type: 'unix', path: '/run/vm/disk.sock' },
      export: 'root',
      discard: 'unmap',
      'detect-zeroes': 'unmap',
    },
  ]);
  expect(valuesOf(command, '-device')).toEqual([
    'virtio-serial-device',
    'virtserialport,chardev=agent,name=org.qemu.guest_agent.0',
    'virtio-rng-device',
    'virtio-blk-device,drive=disk,physical_block_size=4096,discard_granularity=4096,werror=report',
    'virtio-net-device,netdev=net',
  ]);
  expect(valuesOf(command, '-append')).toEqual(['init=/sbin/init']);
});

test('qemuCommand differs for a restored machine only where its state does not depend on it', () => {
  const restored = { ...spec, memory: { path: '/m', shared: false }, start: 'incoming' as const };
  const options = ['-machine', '-accel', '-cpu', '-smp', '-m', '-device', '-netdev', '-mon'];
  for (const option of options) {
    expect(valuesOf(qemuCommand(restored), option)).toEqual(valuesOf(qemuCommand(spec), option));
  }
  expect(valuesOf(qemuCommand(restored), '-incoming')).toEqual(['defer']);
  expect(qemuCommand(restored)).not.toContain('-kernel');
});

test('qemuCommand takes any path', () => {
  const odd = '/run/a,b c"d';
  const command = qemuCommand({ ...spec, qmpSocket: odd, memory: { path: odd, shared: true } });
  expect(valuesOf(command, '-chardev')[1]).toBe('socket,id=qmp,server=off,path=/run/a,,b c"d');
  expect(JSON.parse(valuesOf(command, '-object')[0] as string)['mem-path']).toBe(odd);
});

test('qemuCommand leaves out what is not wanted', () => {
  const command = qemuCommand({ ...spec, machine: { ...spec.machine, accelerator: 'kvm', network: false } });
  expect(valuesOf(command, '-accel')).toEqual(['kvm']);
  expect(valuesOf(command, '-cpu')).toEqual(['host']);
  expect(command).not.toContain('-netdev');
});

test('kernelCommandLine gives the rate of the counter only where the guest cannot measure it', () => {
  const words = kernelCommandLine({ tscKhz: 2_300_000, init: '/init', extra: ['loglevel=7'] }).split(' ');
  expect(words).toEqual(expect.arrayContaining(['tsc_early_khz=2300000', 'tsc=reliable', 'init=/init']));
  expect(words.at(-1)).toBe('loglevel=7');
  expect(kernelCommandLine({ tscKhz: undefined })).not.toMatch(/tsc|init=/);
});

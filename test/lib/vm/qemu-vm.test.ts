import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Vm, VmDriver, VmSnapshot } from '../../../lib/vm/driver.js';
import { ensureKernelBundle, type KernelBundle } from '../../../lib/vm/kernel-bundle.js';
import { openQemuDriver } from '../../../lib/vm/qemu.js';
import { RunDir } from '../../../lib/vm/run-dir.js';
import { GUEST_IMAGE_TIMEOUT_MS, guestImage } from '../../helpers/guest-image.js';
import { findProcesses } from '../../helpers/processes.js';
import { GuestDisk } from './guest-disk.js';

// One guest goes through its whole life; the tests are its stages, in this order.

const MIB = 1 << 20;
const GUEST_TIMEOUT_MS = 180_000;
const MEMORY_BYTES = 256 * MIB;

let scratch: string;
let kernel: KernelBundle;
let driver: VmDriver;
let disk: GuestDisk;
let vm: Vm;
let snapshot: VmSnapshot;

beforeAll(async () => {
  scratch = await mkdtemp(path.join(tmpdir(), 'rootloom-vm-test-'));
  kernel = await ensureKernelBundle();
  driver = await openQemuDriver({ accelerator: 'auto', kernel });
  console.log(`accelerator: ${driver.acceleration.accelerator}, ${driver.acceleration.reason}`);
  disk = await GuestDisk.create(await guestImage(), scratch);
}, GUEST_IMAGE_TIMEOUT_MS);

afterAll(async () => {
  await vm?.close();
  await disk?.[Symbol.asyncDispose]();
  await rm(scratch, { recursive: true, force: true });
});

/** What a shell command of the guest prints. */
async function run(machine: Vm, script: string): Promise<string> {
  const agent = await machine.agent({ timeoutMs: GUEST_TIMEOUT_MS });
  const result = await agent.exec(['/bin/sh', '-c', script], { timeoutMs: GUEST_TIMEOUT_MS });
  if (result.exitCode !== 0) throw new Error(`The guest's command failed: ${result.stderr}`);
  return result.stdout.toString();
}

test('create boots a guest with systemd, and agent waits for it', { timeout: GUEST_TIMEOUT_MS }, async () => {
  const started = performance.now();
  vm = await driver.create({
    kernel,
    disk,
    runDir: disk.runDir,
    memoryBytes: MEMORY_BYTES,
    network: true,
    kernelArguments: ['rootloom.test=1'],
  });
  expect(vm.state).toBe('running');
  await vm.agent({ timeoutMs: GUEST_TIMEOUT_MS });
  console.log(`boot to agent: ${((performance.now() - started) / 1000).toFixed(1)} s`);
  expect(await run(vm, 'cat /proc/1/comm')).toBe('systemd\n');
  expect(await run(vm, 'uname -r')).toBe(`${kernel.description.version}\n`);
  const commandLine = await run(vm, 'cat /proc/cmdline');
  expect(commandLine.trim().split(' ')).toEqual(
    expect.arrayContaining(['init=/sbin/init', 'rootloom.test=1']),
  );
  expect(await run(vm, 'findmnt -no SOURCE,FSTYPE,OPTIONS / 2>/dev/null || grep " / " /proc/mounts')).toMatch(
    /vda.*ext4.*rw.*discard/,
  );
  expect(await run(vm, 'ls /sys/class/net')).toContain('eth0');
  expect(await run(vm, 'nproc')).toBe('2\n');
});

test('the console has what the guest prints', async () => {
  const line = vm.console.waitForLine(/from the guest$/, { signal: AbortSignal.timeout(30_000) });
  await run(vm, 'echo "from the guest" > /dev/console');
  await expect(line).resolves.toContain('from the guest');
});

test('exec gives input, output, errors and status', async () => {
  const agent = await vm.agent();
  const binary = Buffer.from(Array.from({ length: 100_000 }, (_, index) => index & 0xff));
  const result = await agent.exec(['sh', '-c', 'cat; echo "$WHO" >&2; exit 7'], {
    input: binary,
    environment: { PATH: '/usr/bin:/bin', WHO: 'me' },
  });
  expect(result).toMatchObject({ exitCode: 7, signal: undefined, truncated: false });
  expect(result.stdout.equals(binary)).toBe(true);
  expect(result.stderr.toString()).toBe('me\n');
  await expect(agent.exec(['/no/such/program'])).rejects.toMatchObject({ code: 'GUEST_FAILED' });
});

test('exec that is given up is killed in the guest', async () => {
  const agent = await vm.agent();
  await expect(agent.exec(['sleep', '4711'], { timeoutMs: 500 })).rejects.toMatchObject({
    code: 'GUEST_TIMEOUT',
  });
  const gone =
    'for i in $(seq 100); do grep -qsz 471[1] /proc/[0-9]*/cmdline || exit 0; sleep 0.1; done; exit 1';
  await run(vm, gone);
});

test('trims of the guest reach the disk', async () => {
  const before = disk.stats;
  await run(vm, 'dd if=/dev/urandom of=/big bs=1M count=8 status=none && sync && rm /big && sync');
  expect(disk.stats.flushCount).toBeGreaterThan(before.flushCount);
  await expect.poll(() => disk.stats.trimCount, { timeout: 30_000 }).toBeGreaterThan(before.trimCount);
});

test('pause and resume stop and go on', async () => {
  await vm.pause();
  expect(vm.state).toBe('paused');
  const agent = await vm.agent({ timeoutMs: 300 }).catch((error: unknown) => error);
  expect(agent).toMatchObject({ code: 'GUEST_TIMEOUT' });
  await vm.resume();
  expect(vm.state).toBe('running');
  expect(await run(vm, 'echo on')).toBe('on\n');
});

test('snapshot refuses a machine that runs', async () => {
  const dir = path.join(scratch, 'refused');
  await expect(vm.snapshot(dir)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  expect(existsSync(dir)).toBe(false);
});

test('snapshot that is aborted leaves no file and a machine that goes on', async () => {
  const dir = path.join(scratch, 'aborted');
  await vm.pause();
  const controller = new AbortController();
  const going = vm.snapshot(dir, { signal: controller.signal, memory: 'copy' });
  controller.abort('enough');
  await expect(going).rejects.toBe('enough');
  expect(existsSync(dir) ? await readdir(dir) : []).toEqual([]);
  await vm.resume();
  expect(await run(vm, 'echo on')).toBe('on\n');
});

test('snapshot with a copy of the memory lets the machine go on', async () => {
  const dir = path.join(scratch, 'copied');
  await vm.pause();
  const copied = await vm.snapshot(dir, { memory: 'copy' });
  expect((await stat(copied.memoryFile)).size).toBe(MEMORY_BYTES);
  await vm.resume();
  expect(await run(vm, 'echo on')).toBe('on\n');
  expect(copied.machine).toEqual(vm.machine);
  expect((await readdir(dir)).sort()).toEqual(['memory', 'state']);
});

test('snapshot of a frozen guest takes its memory', async () => {
  await run(vm, 'echo kept > /dev/shm/memory && echo kept > /disk && sleep 4712 >/dev/null 2>&1 &');
  const agent = await vm.agent();
  expect(await agent.freeze()).toBeGreaterThan(0);
  expect(await agent.freezeStatus()).toBe('frozen');
  await vm.pause();
  const started = performance.now();
  snapshot = await vm.snapshot(path.join(scratch, 'snapshot'));
  const { size } = await stat(snapshot.stateFile);
  console.log(`snapshot: ${(performance.now() - started).toFixed(0)} ms, ${size} bytes of state`);
  expect(size).toBeLessThan(2 * MIB);
  expect(await stat(snapshot.memoryFile)).toMatchObject({
    size: MEMORY_BYTES,
    ino: (await stat(vm.memoryPath)).ino,
  });
  await expect(vm.resume()).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  await vm.close();
  expect(vm.state).toBe('ended');
  await expect(vm.waitForExit()).resolves.toBe('stopped');
  expect(existsSync(disk.runDir.path)).toBe(false);
  expect(await findProcesses(disk.runDir.path)).toEqual([]);
  await expect(vm.pause()).rejects.toMatchObject({ code: 'VM_FAILED' });
});

test('restore goes on where the snapshot was, several times over', {
  timeout: GUEST_TIMEOUT_MS,
}, async () => {
  await using firstDisk = await GuestDisk.create(disk.device, scratch);
  await using secondDisk = await GuestDisk.create(disk.device, scratch);
  const memoryBefore = await stat(snapshot.memoryFile);
  const started = performance.now();
  await using first = await driver.restore({ snapshot, disk: firstDisk, runDir: firstDisk.runDir });
  console.log(`restore: ${(performance.now() - started).toFixed(0)} ms`);
  await using second = await driver.restore({
    snapshot,
    disk: secondDisk,
    runDir: secondDisk.runDir,
  });
  for (const [name, machine] of [
    ['first', first],
    ['second', second],
  ] as const) {
    const agent = await machine.agent();
    expect(await agent.freezeStatus()).toBe('frozen');
    expect(await agent.thaw()).toBeGreaterThan(0);
    await agent.setTime();
    const guestSeconds = Number(await run(machine, 'date +%s'));
    expect(Math.abs(guestSeconds - Date.now() / 1000)).toBeLessThan(30);
    expect(await run(machine, 'cat /dev/shm/memory /disk')).toBe('kept\nkept\n');
    expect(await run(machine, 'grep -lsz 471[2] /proc/[0-9]*/cmdline | head -c 5')).toBe('/proc');
    await run(machine, `echo ${name} > /disk && sync`);
  }
  expect(await run(first, 'cat /disk')).toBe('first\n');
  await first.pause();
  await expect(first.snapshot(path.join(scratch, 'again'))).rejects.toMatchObject({
    code: 'INVALID_ARGUMENT',
  });
  await expect(second.shutdown({ timeoutMs: GUEST_TIMEOUT_MS })).resolves.toBe('shutdown');
  expect(second.state).toBe('ended');
  expect(existsSync(secondDisk.runDir.path)).toBe(false);
  expect((await stat(snapshot.memoryFile)).mtimeMs).toBe(memoryBefore.mtimeMs);
});

test('restore refuses a snapshot of another machine or with damaged files, and leaves nothing', async () => {
  const attempts: [VmSnapshot, string][] = [
    [{ ...snapshot, machine: { ...snapshot.machine, qemuVersion: '1.0.0' } }, 'UNSUPPORTED'],
    [{ ...snapshot, machine: { ...snapshot.machine, memoryBytes: 2 * MEMORY_BYTES } }, 'CORRUPT'],
    [{ ...snapshot, memoryFile: path.join(scratch, 'missing') }, 'NOT_FOUND'],
    [{ ...snapshot, stateFile: path.join(scratch, 'missing') }, 'NOT_FOUND'],
    [{ ...snapshot, stateFile: path.join(scratch, 'damaged') }, 'VM_FAILED'],
    [{ ...snapshot, machine: { ...snapshot.machine, network: false } }, 'VM_FAILED'],
  ];
  await writeFile(path.join(scratch, 'damaged'), Buffer.alloc(70_000, 0x55));
  for (const [damaged, code] of attempts) {
    await using target = await GuestDisk.create(disk.device, scratch);
    const restoring = driver.restore({ snapshot: damaged, disk: target, runDir: target.runDir });
    await expect(restoring).rejects.toMatchObject({ code });
    expect(existsSync(target.runDir.path)).toBe(false);
    expect(await findProcesses(target.runDir.path)).toEqual([]);
  }
});

test('restore with shared memory can be snapshotted again', { timeout: GUEST_TIMEOUT_MS }, async () => {
  await using target = await GuestDisk.create(disk.device, scratch);
  await using machine = await driver.restore({
    snapshot,
    memory: 'shared',
    disk: target,
    runDir: target.runDir,
  });
  const agent = await machine.agent();
  await agent.thaw();
  await run(machine, 'echo later > /dev/shm/memory');
  await machine.pause();
  const later = await machine.snapshot(path.join(scratch, 'later'));
  await machine.close();
  await using nextDisk = await GuestDisk.create(target.device, scratch);
  await using next = await driver.restore({ snapshot: later, disk: nextDisk, runDir: nextDisk.runDir });
  expect(await run(next, 'cat /dev/shm/memory')).toBe('later\n');
  // The guest's reboot ends the machine.
  const reboot = (await next.agent()).exec(['sh', '-c', 'echo b > /proc/sysrq-trigger']);
  await expect(reboot).rejects.toMatchObject({ code: 'VM_FAILED' });
  await expect(next.waitForExit()).resolves.toBe('reset');
});

test('a guest that cannot boot says why', async () => {
  await using target = await GuestDisk.create(disk.device, scratch);
  await using machine = await driver.create({
    kernel,
    disk: target,
    runDir: target.runDir,
    init: '/no/such/init',
  });
  await expect(machine.agent({ timeoutMs: 60_000 })).rejects.toMatchObject({
    code: 'VM_FAILED',
    context: {
      logTail: expect.arrayContaining(['rootloom: cannot boot: the disk has no program /no/such/init']),
    },
  });
  await expect(machine.waitForExit()).resolves.toBe('shutdown');
});

test('create refuses what cannot be, and what QEMU refuses has its words', async () => {
  await expect(driver.create({ kernel, disk, cpus: 0 })).rejects.toBeInstanceOf(RangeError);
  const runDir = await RunDir.create();
  await expect(driver.create({ kernel, disk, memoryBytes: 1, runDir })).rejects.toBeInstanceOf(RangeError);
  expect(existsSync(runDir.path)).toBe(false);
  await expect(driver.create({ kernel, disk: { socketPath: '/no/socket' } })).rejects.toMatchObject({
    code: 'VM_FAILED',
    context: { logTail: expect.arrayContaining([expect.stringContaining('/no/socket')]) },
  });
  const signal = AbortSignal.abort('enough');
  await expect(driver.create({ kernel, disk }, { signal })).rejects.toBe('enough');
});

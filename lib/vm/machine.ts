/** What a virtual machine is: all that its device state depends on, and that a restored one must have again. */
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { RootloomError } from '../errors.js';

export const machineDescription = z.strictObject({
  formatVersion: z.literal(1),
  /** "7.2.22". The machine type that we use is not versioned by QEMU: its state fits the same version only. */
  qemuVersion: z.string(),
  accelerator: z.enum(['kvm', 'tcg']),
  /** The host's processor as it names itself, where the guest's depends on it. */
  hostCpu: z.string().nullable(),
  /** The rate of the counter that the guest keeps its time by, in kHz. */
  tscKhz: z.int().positive(),
  cpus: z.int().positive(),
  memoryBytes: z.int().positive(),
  network: z.boolean(),
});

export type MachineDescription = z.infer<typeof machineDescription>;

/** What of a machine the host and its QEMU decide. */
export type HostTraits = Pick<MachineDescription, 'qemuVersion' | 'accelerator' | 'hostCpu' | 'tscKhz'>;

/** A guest's clock that is wrong by more than that cannot be set right by its time service. */
const TSC_TOLERANCE = 500e-6;

/** Throws UNSUPPORTED, naming what is and what is wanted, when this host cannot go on with a machine that was snapshotted. */
export function assertCompatible(snapshot: HostTraits, host: HostTraits): void {
  const differences = [
    compare('QEMU', snapshot.qemuVersion, host.qemuVersion),
    compare('the accelerator', snapshot.accelerator, host.accelerator),
    compare('the processor', snapshot.hostCpu ?? 'any', host.hostCpu ?? 'any'),
    Math.abs(snapshot.tscKhz / host.tscKhz - 1) > TSC_TOLERANCE
      ? compare('the time stamp counter', `${snapshot.tscKhz} kHz`, `${host.tscKhz} kHz`)
      : undefined,
  ].filter((difference) => difference !== undefined);
  if (differences.length === 0) return;
  const operation = 'restore the snapshot';
  throw new RootloomError('UNSUPPORTED', `Cannot ${operation}: ${differences.join('; ')}`, { operation });
}

function compare(what: string, wanted: string, found: string): string | undefined {
  return wanted === found ? undefined : `${what} here is ${found}, it was made with ${wanted}`;
}

/** The processor as Linux names it. */
export async function readHostCpu(): Promise<string> {
  const info = await readFile('/proc/cpuinfo', 'utf8');
  const field = (name: string) => new RegExp(`^${name}\\s*: (.*)$`, 'm').exec(info)?.[1] ?? 'unknown';
  return `${field('model name')} (family ${field('cpu family')}, model ${field('model')}, stepping ${field('stepping')})`;
}

/** The kind of virtual machine that a build uses: its driver, its kernel, its resources. */
import type { Logger } from 'pino';
import type { JsonValue } from '../util/digest.js';
import type { VmDriver } from '../vm/driver.js';
import { ensureKernelBundle, type KernelBundle, openKernelBundle } from '../vm/kernel-bundle.js';
import { openQemuDriver } from '../vm/qemu.js';
import {
  DEFAULT_BOOT_TIMEOUT_MS,
  DEFAULT_CPUS,
  DEFAULT_MEMORY_BYTES,
  DEFAULT_PROVISION_TIMEOUT_MS,
  type MachineOptions,
} from './options.js';

export interface Machine {
  driver: VmDriver;
  kernel: KernelBundle;
  memoryBytes: number;
  cpus: number;
  /** See `MachineOptions`. */
  provisionTimeoutMs: number;
  bootTimeoutMs: number;
}

export interface OpenMachineOptions {
  signal?: AbortSignal | undefined;
  logger?: Logger | undefined;
}

/**
 * Finds the driver and the kernel. The first time on a host this makes a kernel bundle and tries whether KVM boots.
 * Rejects with TOOL_MISSING, NOT_FOUND, CORRUPT for a damaged bundle, IO, or the signal's reason.
 */
export async function openMachine(
  options: MachineOptions = {},
  { signal, logger }: OpenMachineOptions = {},
): Promise<Machine> {
  const { kernelBundle } = options;
  const kernel =
    kernelBundle === undefined
      ? await ensureKernelBundle({ signal, logger })
      : await openKernelBundle(kernelBundle, { signal });
  return {
    driver: await openQemuDriver({ kernel, signal, logger }),
    kernel,
    memoryBytes: options.memoryBytes ?? DEFAULT_MEMORY_BYTES,
    cpus: options.cpus ?? DEFAULT_CPUS,
    provisionTimeoutMs: options.provisionTimeoutMs ?? DEFAULT_PROVISION_TIMEOUT_MS,
    bootTimeoutMs: options.bootTimeoutMs ?? DEFAULT_BOOT_TIMEOUT_MS,
  };
}

/** What of a machine reaches a disk that it has written, for the layer hash. */
export function diskInputs({ driver, kernel, memoryBytes, cpus }: Machine): { [key: string]: JsonValue } {
  return { kernel: kernel.digest, memoryBytes, cpus, accelerator: driver.acceleration.accelerator };
}

/**
 * What of a machine reaches its snapshot, for the layer hash. The rate of the time stamp counter does so too, but no two
 * measurements of it are equal: whether a cached snapshot fits is asked when it is found.
 */
export function snapshotInputs(machine: Machine): { [key: string]: JsonValue } {
  const { qemuVersion, hostCpu } = machine.driver.host;
  return { ...diskInputs(machine), qemuVersion, hostCpu };
}

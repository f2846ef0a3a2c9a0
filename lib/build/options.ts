/** What a template is built from, and how. */
import type { CallOptions } from '../native/call.js';
import { type Isolation, validateIsolation } from '../native/isolation.js';
import { type DiskRequest, validateDiskRequest } from '../rootfs/disk-request.js';
import type { ProvisioningOptions } from '../rootfs/provisioning/files.js';
import { CHECK_POLICIES, type CheckPolicy } from '../rootfs/soundness.js';
import { type Strategy, validateStrategy } from '../rootfs/strategy.js';
import { parseBuildId } from '../storage/keys.js';
import type { Store } from '../storage/store.js';
import { assertShape } from '../vm/qemu.js';

/** Where the content of the disk comes from. */
export type TemplateSource =
  /** An OCI reference as `openImage` takes it, and the platform to choose, by default this machine's. */
  | { oci: string; platform?: string | undefined }
  /** The UUID of a build in the same store. */
  | { template: string };

/** The virtual machine that provisions and boots the template; part of the layer hash, but for its deadlines. */
export interface MachineOptions {
  /** Memory of the guest in bytes: a multiple of 1 MiB, at least 64 MiB. Default 512 MiB. */
  memoryBytes?: number | undefined;
  /** Virtual processors, 1 to 64. Default 2. */
  cpus?: number | undefined;
  /** A kernel bundle's folder, as `makeKernelBundle` makes it. Default: one of Debian's cloud kernel, made once. */
  kernelBundle?: string | undefined;
  /** For the whole provisioning boot, downloads included, in milliseconds. Default 20 minutes. */
  provisionTimeoutMs?: number | undefined;
  /** For the guest's agent to answer after power-on, and again for its services to settle, in milliseconds. Default 5 minutes. */
  bootTimeoutMs?: number | undefined;
}

/** The logger gets phases at `info`, and what the guest prints at `debug`. */
export interface TemplateOptions extends CallOptions {
  /** Stays its owner's, and must stay open until the build has ended. */
  store: Store;
  from: TemplateSource;
  /**
   * Default for a template source: its size. Required for an OCI source. With `{ free }` a disk from an image becomes about as large
   * as that takes, and one from a template grows where it must.
   */
  disk?: DiskRequest | undefined;
  /** What is put into the image besides what every sandbox needs; part of the layer hash. */
  provisioning?: ProvisioningOptions | undefined;
  machine?: MachineOptions | undefined;
  /** For a template source: when its disk is checked before it is resized. Default `auto`. */
  check?: CheckPolicy | undefined;
  /** For a template source: where the engine works on its disk. Default: `none` for a disk that only this library has written, else `process`. */
  isolation?: Isolation | undefined;
  /** For a template source: how its disk gets its size; part of the layer hash. Default `resize`. */
  strategy?: Strategy | undefined;
  /** Builds every layer anew, whatever the cache holds, and has the cache lead to the new ones. Default false. */
  force?: boolean | undefined;
}

export const DEFAULT_MEMORY_BYTES = 512 * 1024 * 1024;
export const DEFAULT_CPUS = 2;
export const DEFAULT_PROVISION_TIMEOUT_MS = 20 * 60_000;
/** Emulated processors on a busy host are slow. */
export const DEFAULT_BOOT_TIMEOUT_MS = 5 * 60_000;

/** Timers of Node take no more; larger ones would fire at once. */
const LONGEST_TIMEOUT_MS = 2 ** 31 - 1;

function validateTimeout(name: string, timeoutMs: number): void {
  if (timeoutMs > 0 && timeoutMs <= LONGEST_TIMEOUT_MS) return;
  throw new RangeError(
    `Cannot use ${name}: it is ${timeoutMs}, wanted 1 to ${LONGEST_TIMEOUT_MS} milliseconds`,
  );
}

function validateMachineOptions(options: MachineOptions): void {
  assertShape(options.cpus ?? DEFAULT_CPUS, options.memoryBytes ?? DEFAULT_MEMORY_BYTES);
  validateTimeout('provisionTimeoutMs', options.provisionTimeoutMs ?? DEFAULT_PROVISION_TIMEOUT_MS);
  validateTimeout('bootTimeoutMs', options.bootTimeoutMs ?? DEFAULT_BOOT_TIMEOUT_MS);
}

/** Throws TypeError or RangeError for options that can never be right, and as `validateDiskRequest` does; nothing was begun then. */
export function validateOptions({
  from,
  disk,
  check = 'auto',
  strategy,
  isolation,
  machine = {},
}: Pick<TemplateOptions, 'from' | 'disk' | 'check' | 'strategy' | 'isolation' | 'machine'>): void {
  if (typeof from !== 'object' || 'oci' in from === 'template' in from) {
    throw new TypeError('Cannot build: the source must be { oci: reference } or { template: buildId }');
  }
  if ('template' in from) parseBuildId(from.template);
  if (disk !== undefined) validateDiskRequest(disk);
  else if ('oci' in from) {
    throw new TypeError('Cannot build from an OCI image: a disk request is needed, it has none');
  }
  if (!CHECK_POLICIES.includes(check)) {
    throw new TypeError(
      `Cannot build: the check policy is ${check}, wanted one of ${CHECK_POLICIES.join(', ')}`,
    );
  }
  if (strategy !== undefined) {
    if ('oci' in from)
      throw new TypeError('Cannot build from an OCI image by a strategy: only a template has a disk');
    validateStrategy(strategy);
  }
  validateIsolation(isolation);
  validateMachineOptions(machine);
}

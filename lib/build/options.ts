/** What a template is built from, and how. */
import type { Logger } from 'pino';
import type { CallOptions } from '../native/call.js';
import type { DiskRequest } from '../rootfs/disk-request.js';
import type { ProvisioningOptions } from '../rootfs/provisioning/files.js';
import type { CheckPolicy } from '../rootfs/soundness.js';
import type { Store } from '../storage/store.js';

/** Where the content of the disk comes from. */
export type TemplateSource =
  /** An OCI reference as `openImage` takes it, and the platform to choose, by default this machine's. */
  | { oci: string; platform?: string | undefined }
  /** The UUID of a build in the same store. */
  | { template: string };

/** The virtual machine that provisions and boots the template; part of the layer hash, but for its deadlines. */
export interface MachineOptions {
  /** Memory of the guest in bytes. Default 512 MiB. */
  memoryBytes?: number | undefined;
  /** Virtual processors. Default 2. */
  cpus?: number | undefined;
  /** A kernel bundle's folder, as `makeKernelBundle` makes it. Default: one of Debian's cloud kernel, made once. */
  kernelBundle?: string | undefined;
  /** For the whole provisioning script, downloads included. Default 20 minutes. */
  provisionTimeoutMs?: number | undefined;
  /** For the guest's agent to answer after power-on, and again for its services to settle. Default 5 minutes. */
  bootTimeoutMs?: number | undefined;
}

export interface TemplateOptions extends CallOptions {
  store: Store;
  from: TemplateSource;
  /** Default for a template source: its size. Required for an OCI source. */
  disk?: DiskRequest | undefined;
  provisioning?: ProvisioningOptions | undefined;
  machine?: MachineOptions | undefined;
  check?: CheckPolicy | undefined;
  /** Builds every layer anew, whatever the cache holds. */
  force?: boolean | undefined;
  logger?: Logger | undefined;
}

export const DEFAULT_MEMORY_BYTES = 512 * 1024 * 1024;
export const DEFAULT_CPUS = 2;
export const DEFAULT_PROVISION_TIMEOUT_MS = 20 * 60_000;
/** Emulated processors on a busy host are slow. */
export const DEFAULT_BOOT_TIMEOUT_MS = 5 * 60_000;

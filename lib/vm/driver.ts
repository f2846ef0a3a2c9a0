/** What a virtual machine can do, whatever runs it. */
import type { Logger } from 'pino';
import type { Console } from './console.js';
import type { GuestAgent, GuestCallOptions } from './guest-agent.js';
import type { KernelBundle } from './kernel-bundle.js';
import type { HostTraits, MachineDescription } from './machine.js';
import type { RunDir } from './run-dir.js';

export type Accelerator = 'kvm' | 'tcg';

/** How guests are run on this host, and why so. */
export interface Acceleration {
  accelerator: Accelerator;
  /** A sentence for people. */
  reason: string;
}

/** The disk: an NBD export on a unix socket, writable. */
export interface VmDisk {
  socketPath: string;
  /** Default: the empty name. */
  exportName?: string | undefined;
}

interface VmResources {
  disk: VmDisk;
  /**
   * Where the machine's sockets and its memory are; a place for the disk's socket, too. The call takes it over: it is removed
   * when the machine ends, and also when the call fails. Default: a new one.
   */
  runDir?: RunDir | undefined;
}

export interface VmSpec extends VmResources {
  kernel: KernelBundle;
  /** The program on the disk that becomes process 1. Default /sbin/init. */
  init?: string | undefined;
  /** Default 2. */
  cpus?: number | undefined;
  /** In bytes, a multiple of 1 MiB, at least 64 MiB. Default 512 MiB. */
  memoryBytes?: number | undefined;
  /** The outside world by address translation: the guest is 10.0.2.15/24, gateway 10.0.2.2, name server 10.0.2.3. Default false. */
  network?: boolean | undefined;
  /** More words for the kernel's command line. They come last, where the kernel lets them win. */
  kernelArguments?: readonly string[] | undefined;
  /** The file for the guest's memory; made if missing, and not removed. Default: a file in the run directory. */
  memoryPath?: string | undefined;
}

/** A machine at rest: what `snapshot` gives and `restore` takes. */
export interface VmSnapshot {
  machine: MachineDescription;
  /** Device state; some 100 KB. */
  stateFile: string;
  /** The guest's memory, sparse, of exactly `machine.memoryBytes`. */
  memoryFile: string;
}

export interface RestoreSpec extends VmResources {
  snapshot: VmSnapshot;
  /**
   * `private` (default): the memory file is read when the guest touches it, and stays as it is; any number of machines may use
   * it at once, and it must stay until the last has ended. Such a machine cannot be snapshotted. `shared`: the file becomes
   * the machine's own memory and changes with it.
   */
  memory?: 'private' | 'shared' | undefined;
}

export interface StartOptions {
  signal?: AbortSignal | undefined;
  logger?: Logger | undefined;
  /** For the emulator to come up, not for the guest. Default 60 seconds. */
  timeoutMs?: number | undefined;
}

export interface VmDriver {
  readonly acceleration: Acceleration;
  /** What of every machine this host decides; a snapshot goes on only where it fits (see `assertCompatible`). */
  readonly host: HostTraits;
  /**
   * Starts a machine; resolves when its processors run, long before its guest is up. Rejects with VM_FAILED (`logTail` has the
   * last lines of console and emulator), TOOL_MISSING, IO, NO_SPACE, RangeError, or `signal.reason`; nothing is left then.
   */
  create(spec: VmSpec, options?: StartOptions): Promise<Vm>;
  /**
   * Goes on with a snapshotted machine, in a new one on a disk with the content of that moment. Its clock stands where it
   * stood: set it, and thaw the filesystems if they were frozen. Rejects like `create`, with UNSUPPORTED when this host has
   * another emulator or processor, and CORRUPT for a damaged snapshot.
   */
  restore(spec: RestoreSpec, options?: StartOptions): Promise<Vm>;
}

/**
 * How a machine ended. `shutdown`: the guest powered off. `reset`: it rebooted or its kernel panicked, which ends a machine
 * here. `stopped`: by `kill` or `close`.
 */
export type VmEndReason = 'shutdown' | 'reset' | 'stopped';

export type VmState = 'running' | 'paused' | 'ended';

export interface SnapshotOptions {
  signal?: AbortSignal | undefined;
  /**
   * `take` (default): the machine's memory file becomes the snapshot's, and the machine cannot go on. It is copied only when the two
   * are on different filesystems, or on one without links. `copy`: it is copied, and the machine can go on.
   */
  memory?: 'take' | 'copy' | undefined;
}

/**
 * A virtual machine. It ends with its guest, by `close`, or with this process, however that ends. Calls on one that has ended
 * reject with VM_FAILED.
 */
export interface Vm extends AsyncDisposable {
  readonly state: VmState;
  /** What the guest prints on its serial line. */
  readonly console: Console;
  readonly machine: MachineDescription;
  readonly memoryPath: string;
  /**
   * Resolves when the disk's server has refused a request of the guest, or has gone. The guest goes on with an error of its own,
   * but what is on its disk is not to be relied on. Never rejects.
   */
  readonly diskFailed: Promise<void>;

  /** Resolves with how it ended. Rejects with VM_FAILED when the emulator failed, GUEST_TIMEOUT, or `signal.reason`. */
  waitForExit(options?: GuestCallOptions): Promise<VmEndReason>;
  /** Resolves with the guest's agent once it answers. Rejects with GUEST_TIMEOUT, VM_FAILED, or `signal.reason`. */
  agent(options?: GuestCallOptions): Promise<GuestAgent>;
  /** Stops the processors, and waits until all writes of the guest are flushed to the disk's server. */
  pause(options?: { signal?: AbortSignal | undefined }): Promise<void>;
  resume(options?: { signal?: AbortSignal | undefined }): Promise<void>;
  /**
   * Writes the paused machine into `dir`, which is made when it is missing: "state" and "memory". Neither is synced. On failure or
   * abort these files are gone and the machine is paused. `machine` of the result is needed to restore them; keep it with them.
   */
  snapshot(dir: string, options?: SnapshotOptions): Promise<VmSnapshot>;
  /** Has the guest power off, and waits for it. After a GUEST_TIMEOUT it may still do so. Default deadline: 2 minutes. */
  shutdown(options?: GuestCallOptions): Promise<VmEndReason>;
  /** Ends it at once, like pulling the plug, and resolves when it is gone: no process, no socket, no run directory. */
  kill(): Promise<void>;
  /** The same; idempotent. */
  close(): Promise<void>;
}

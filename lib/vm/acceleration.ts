/** How guests can be run here: KVM where a guest has been seen to boot under it, emulation otherwise. */
import { access, constants, readFile } from 'node:fs/promises';
import type { Logger } from 'pino';
import { RootloomError } from '../errors.js';
import { runTool } from '../util/tool.js';
import { withDeadline } from './deadline.js';
import type { Acceleration, Accelerator } from './driver.js';
import { PROBE_ARGUMENT, PROBE_MARKER } from './initramfs.js';
import { defaultCacheDir, ensureKernelBundle, type KernelBundle } from './kernel-bundle.js';
import { recallTrial } from './kvm-trial.js';
import { kernelCommandLine } from './qemu-command.js';
import { QemuSession } from './qemu-session.js';
import { RunDir } from './run-dir.js';

const KVM_DEVICE = '/dev/kvm';

/** Under a KVM that works the trial takes less than a second; on a busy host some. */
const PROBE_TIMEOUT_MS = 15_000;
const PROBE_MEMORY_BYTES = 256 << 20;

export interface AccelerationOptions {
  /** Default `auto`: KVM if it works, else TCG. */
  accelerator?: Accelerator | 'auto' | undefined;
  /** The kernel for the trial boot. Default: the default bundle, made if need be. */
  kernel?: KernelBundle | undefined;
  /** Where the outcome of the trial is kept until the next boot of this host. Default as for `ensureKernelBundle`. */
  cacheDir?: string | undefined;
  signal?: AbortSignal | undefined;
  logger?: Logger | undefined;
}

/**
 * Decides. That /dev/kvm is there says little: inside some virtual machines it is, and guests hang under it. So a guest is booted
 * to its first line, once for each boot of this host, kernel and version of QEMU. The outcome is kept in `cacheDir`, in the file
 * kvm-probe.json: remove that to have the trial repeated.
 *
 * Rejects with what `ensureKernelBundle` rejects with; TOOL_MISSING, IO, NO_SPACE, BUSY when the trial could not be made, for then
 * nobody knows; `signal.reason`.
 *
 * @param program QEMU.
 */
export async function chooseAcceleration(
  program: string,
  options: AccelerationOptions = {},
): Promise<Acceleration> {
  const { accelerator = 'auto', logger } = options;
  if (accelerator !== 'auto') return { accelerator, reason: 'it was asked for' };
  const acceleration = await decide(program, options);
  logger?.info(acceleration, 'chose how to run guests');
  return acceleration;
}

async function decide(program: string, options: AccelerationOptions): Promise<Acceleration> {
  const { cacheDir = defaultCacheDir(), signal, logger } = options;
  try {
    await access(KVM_DEVICE, constants.R_OK | constants.W_OK);
  } catch (error) {
    const isThere = (error as NodeJS.ErrnoException).code === 'EACCES';
    const reason = `${KVM_DEVICE} ${isThere ? 'is not accessible to this user' : 'is not there'}`;
    return { accelerator: 'tcg', reason };
  }
  const kernel = options.kernel ?? (await ensureKernelBundle({ cacheDir, signal, logger }));
  const host = await describeHost(kernel, signal);
  const { works, reason } = await recallTrial(host, { cacheDir, signal, logger }, () =>
    bootProbe(program, kernel, signal),
  );
  return { accelerator: works ? 'kvm' : 'tcg', reason };
}

async function describeHost(kernel: KernelBundle, signal: AbortSignal | undefined): Promise<string> {
  const bootId = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
  const version = await runTool('qemu-system-x86_64', ['--version'], 'ask QEMU for its version', { signal });
  return [bootId, kernel.digest, version.toString().split('\n', 1)[0]].join(' ');
}

/**
 * Boots a guest under KVM to the first line of its first program. Rejects with GUEST_TIMEOUT or VM_FAILED when it does not get
 * there, with what keeps a guest from being tried, or with `signal.reason`.
 */
async function bootProbe(
  program: string,
  kernel: KernelBundle,
  signal: AbortSignal | undefined,
): Promise<void> {
  await using runDir = await RunDir.create({ signal });
  const timeoutMs = PROBE_TIMEOUT_MS;
  const makeError = () =>
    new RootloomError('GUEST_TIMEOUT', `a guest under KVM did not start in ${timeoutMs / 1000} seconds`);
  await withDeadline({ signal, timeoutMs }, makeError, async (deadline) => {
    const { session } = await QemuSession.start(
      {
        program,
        runDir,
        machine: { accelerator: 'kvm', cpus: 1, memoryBytes: PROBE_MEMORY_BYTES, network: false },
        memory: { path: runDir.file('memory'), shared: false },
        start: {
          kernelFile: kernel.kernelFile,
          initramfsFile: kernel.initramfsFile,
          commandLine: kernelCommandLine({ tscKhz: undefined, extra: [PROBE_ARGUMENT] }),
        },
      },
      { signal: deadline, timeoutMs },
    );
    try {
      await session.console.waitForLine(new RegExp(PROBE_MARKER), { signal: deadline });
    } finally {
      await session.stop();
    }
  });
}

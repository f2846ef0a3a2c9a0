/** How guests can be run here: KVM where a guest has been seen to boot under it, emulation otherwise. */
import { access, constants, readFile } from 'node:fs/promises';
import path from 'node:path';
import type { Logger } from 'pino';
import { z } from 'zod';
import { RootloomError } from '../errors.js';
import { readJsonFile, writeJsonAtomically } from '../util/atomic-file.js';
import { withFileLock } from '../util/file-lock.js';
import { runTool } from '../util/tool.js';
import { withDeadline } from './deadline.js';
import type { Acceleration, Accelerator } from './driver.js';
import { PROBE_ARGUMENT, PROBE_MARKER } from './initramfs.js';
import { defaultCacheDir, ensureKernelBundle, type KernelBundle } from './kernel-bundle.js';
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

const storedProbe = z.strictObject({
  /** What the outcome depends on. */
  host: z.string(),
  works: z.boolean(),
  reason: z.string(),
});
type StoredProbe = z.infer<typeof storedProbe>;

/**
 * Decides. That /dev/kvm is there says little: inside some virtual machines it is, and guests hang under it. So a guest is booted
 * to its first line, once for each boot of this host, kernel and version of QEMU.
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
  const file = path.join(cacheDir, 'kvm-probe.json');
  const { works, reason } = await withFileLock(path.join(cacheDir, 'kvm-probe-lock'), signal, async () => {
    const stored = await readStored(file);
    if (stored?.host === host) return stored;
    logger?.info('booting a guest under KVM, to see whether it works');
    const probed = { host, ...(await probe(program, kernel, signal)) };
    await writeJsonAtomically(file, probed);
    return probed;
  });
  return { accelerator: works ? 'kvm' : 'tcg', reason };
}

async function describeHost(kernel: KernelBundle, signal: AbortSignal | undefined): Promise<string> {
  const bootId = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
  const version = await runTool('qemu-system-x86_64', ['--version'], 'ask QEMU for its version', { signal });
  return [bootId, kernel.digest, version.toString().split('\n', 1)[0]].join(' ');
}

/** A missing, old or damaged note is none. */
async function readStored(file: string): Promise<StoredProbe | undefined> {
  return readJsonFile(file, storedProbe, 'the outcome of the KVM trial').catch(() => undefined);
}

/** Boots a guest under KVM to the first line of its first program. Rejects only with `signal.reason`. */
async function probe(
  program: string,
  kernel: KernelBundle,
  signal: AbortSignal | undefined,
): Promise<Pick<StoredProbe, 'works' | 'reason'>> {
  const timeoutMs = PROBE_TIMEOUT_MS;
  const makeError = () =>
    new RootloomError('GUEST_TIMEOUT', `a guest under KVM did not start in ${timeoutMs / 1000} seconds`);
  try {
    await withDeadline({ signal, timeoutMs }, makeError, (deadline) => bootProbe(program, kernel, deadline));
    return { works: true, reason: 'a guest under KVM started' };
  } catch (error) {
    signal?.throwIfAborted();
    return { works: false, reason: (error as Error).message };
  }
}

async function bootProbe(program: string, kernel: KernelBundle, signal: AbortSignal): Promise<void> {
  await using runDir = await RunDir.create({ signal });
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
    { signal, timeoutMs: PROBE_TIMEOUT_MS },
  );
  try {
    await session.console.waitForLine(new RegExp(PROBE_MARKER), { signal });
  } finally {
    await session.stop();
  }
}

/** Kernel bundles: a kernel, the initramfs that goes with it, and their description, in one folder. */
import { copyFile, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import path from 'node:path';
import type { Logger } from 'pino';
import { isRootloomError, RootloomError } from '../errors.js';
import {
  makeFolder,
  readJsonFile,
  syncPath,
  writeFileAtomically,
  writeJsonAtomically,
} from '../util/atomic-file.js';
import { digestBytes, digestFile, digestJson } from '../util/digest.js';
import { withFileLock } from '../util/file-lock.js';
import { listIfThere } from '../util/lookup.js';
import { readStaticBusybox } from '../util/static-busybox.js';
import { withSystemErrors } from '../util/system-error.js';
import { INIT_SCRIPT, makeInitramfs } from './initramfs.js';
import { type KernelDescription, kernelDescription } from './kernel-description.js';
import { MODULE_CHOICE, readModules } from './kernel-modules.js';
import {
  DEFAULT_KERNEL_PACKAGE,
  readKernelVersion,
  type UnpackedKernel,
  unpackKernelPackage,
  useKernelFile,
} from './kernel-source.js';
import { makeWorkFolder } from './work-area.js';

const KERNEL_FILE = 'kernel';
const INITRAMFS_FILE = 'initramfs';
const DESCRIPTION_FILE = 'kernel.json';

/** A bundle whose files were found whole. */
export interface KernelBundle {
  /** The folder, absolute. */
  readonly path: string;
  readonly kernelFile: string;
  readonly initramfsFile: string;
  readonly description: KernelDescription;
  /** SHA-256 over the description, and through it over everything: equal for equal bundles, wherever they are. */
  readonly digest: string;
}

export interface KernelBundleOptions {
  /** The folder to make; it must not hold anything yet. */
  outDir: string;
  /** A .deb file, or the name of a package that apt knows. Default: Debian's cloud kernel. */
  package?: string | undefined;
  /** A kernel file (bzImage, or an uncompressed vmlinux with a PVH entry) instead of a package. */
  vmlinux?: string | undefined;
  /** Its modules, like /lib/modules/VERSION; without them the kernel must have everything built in. */
  modulesDir?: string | undefined;
  /** A static busybox program. Default: the one on PATH. */
  busybox?: string | undefined;
  signal?: AbortSignal | undefined;
  logger?: Logger | undefined;
}

/**
 * Makes a bundle. The same inputs give the same bytes. kernel.json is written last: without it there is no bundle.
 *
 * Rejects with INVALID_ARGUMENT for a folder that is not empty, NOT_FOUND, UNSUPPORTED for a kernel that cannot run our
 * guests, TOOL_MISSING, IO, NO_SPACE, or `signal.reason`; then the folder is gone again.
 */
export async function makeKernelBundle(options: KernelBundleOptions): Promise<KernelBundle> {
  const { signal, logger } = options;
  if (options.vmlinux !== undefined && options.package !== undefined) {
    throw new TypeError('A kernel bundle is made of a package or of a vmlinux, not of both');
  }
  const outDir = path.resolve(options.outDir);
  if ((await listIfThere(outDir)).length > 0) {
    const message = `Cannot make a kernel bundle in ${outDir}: it is not empty, wanted a new folder`;
    throw new RootloomError('INVALID_ARGUMENT', message, { operation: 'make a kernel bundle', path: outDir });
  }
  await using work = await makeWorkFolder({}, signal);
  const source =
    options.vmlinux === undefined
      ? await unpackKernelPackage(options.package ?? DEFAULT_KERNEL_PACKAGE, work.path, signal)
      : await useKernelFile(options.vmlinux, options.modulesDir, signal);
  try {
    await makeFolder(outDir);
    const description = await writeBundle(source, outDir, options);
    logger?.info({ kernel: description.version, path: outDir }, 'made a kernel bundle');
    return toBundle(outDir, description);
  } catch (error) {
    await removeFolder(outDir);
    throw error;
  }
}

/** Opens a bundle and checks that its files are whole. Rejects with NOT_FOUND, CORRUPT, IO, or `signal.reason`. */
export async function openKernelBundle(
  folder: string,
  { signal }: { signal?: AbortSignal | undefined } = {},
): Promise<KernelBundle> {
  const absolute = path.resolve(folder);
  const what = `the description of the kernel bundle ${absolute}`;
  const description = await readJsonFile(path.join(absolute, DESCRIPTION_FILE), kernelDescription, what);
  for (const [name, wanted] of [
    [KERNEL_FILE, description.kernel],
    [INITRAMFS_FILE, description.initramfs],
  ] as const) {
    const file = path.join(absolute, name);
    const { hex } = await digestFile(file, { signal });
    if (hex === wanted.sha256) continue;
    const message = `Cannot use the kernel bundle ${absolute}: the digest of ${name} is not the one in ${DESCRIPTION_FILE}`;
    throw new RootloomError('CORRUPT', message, { operation: 'open a kernel bundle', path: file });
  }
  return toBundle(absolute, description);
}

export interface EnsureKernelOptions {
  /** Default: `$XDG_CACHE_HOME/rootloom`, or `~/.cache/rootloom`. */
  cacheDir?: string | undefined;
  signal?: AbortSignal | undefined;
  logger?: Logger | undefined;
}

/**
 * The default bundle, made on the first call and kept in the cache, however many processes ask at once. A damaged one is
 * made again. Rejects as `makeKernelBundle` does.
 */
export async function ensureKernelBundle(options: EnsureKernelOptions = {}): Promise<KernelBundle> {
  const { cacheDir = defaultCacheDir(), signal, logger } = options;
  const outDir = defaultBundleFolder(cacheDir);
  return withFileLock(path.join(cacheDir, 'kernel-lock'), signal, async () => {
    try {
      return await openKernelBundle(outDir, { signal });
    } catch (error) {
      if (!isRootloomError(error, 'NOT_FOUND') && !isRootloomError(error, 'CORRUPT')) throw error;
      await removeFolder(outDir);
      return makeKernelBundle({ outDir, signal, logger });
    }
  });
}

/** Where `ensureKernelBundle` keeps the default bundle, whether it is there or not. */
export function defaultBundleFolder(cacheDir = defaultCacheDir()): string {
  // A newer version of this library may put other things into a bundle, and must not take an old one for it.
  const recipe = digestJson([DEFAULT_KERNEL_PACKAGE, INIT_SCRIPT, ...MODULE_CHOICE]).slice(0, 12);
  return path.join(cacheDir, `kernel-${recipe}`);
}

/** `$XDG_CACHE_HOME/rootloom`, or `~/.cache/rootloom`. */
export function defaultCacheDir(): string {
  return path.join(process.env.XDG_CACHE_HOME || path.join(homedir(), '.cache'), 'rootloom');
}

function removeFolder(folder: string): Promise<void> {
  return withSystemErrors('remove', folder, () => rm(folder, { recursive: true, force: true }));
}

async function writeBundle(
  { kernelFile, modulesDir, origin }: UnpackedKernel,
  outDir: string,
  { busybox: busyboxFile, signal }: KernelBundleOptions,
): Promise<KernelDescription> {
  const busybox = await readStaticBusybox('make an initramfs', busyboxFile);
  const modules = modulesDir === undefined ? [] : await readModules(modulesDir, signal);
  const initramfs = makeInitramfs(busybox, modules);
  const target = path.join(outDir, KERNEL_FILE);
  await withSystemErrors('write', target, () => copyFile(kernelFile, target));
  await syncPath(target);
  const kernel = await digestFile(target, { signal });
  await writeFileAtomically(path.join(outDir, INITRAMFS_FILE), initramfs);
  const description: KernelDescription = {
    formatVersion: 1,
    version: await readKernelVersion(target),
    kernel: { size: kernel.size, sha256: kernel.hex },
    initramfs: { size: initramfs.length, sha256: digestBytes(initramfs) },
    modules: modules.map(({ name }) => name),
    origin,
    busybox: { sha256: digestBytes(busybox) },
  };
  signal?.throwIfAborted();
  await writeJsonAtomically(path.join(outDir, DESCRIPTION_FILE), description);
  return description;
}

function toBundle(folder: string, description: KernelDescription): KernelBundle {
  return {
    path: folder,
    kernelFile: path.join(folder, KERNEL_FILE),
    initramfsFile: path.join(folder, INITRAMFS_FILE),
    description,
    digest: digestJson(description),
  };
}

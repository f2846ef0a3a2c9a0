/** Where a kernel comes from: a Debian package, or a file and a folder that the user names. */
import { mkdir, readFile, stat, symlink } from 'node:fs/promises';
import path from 'node:path';
import { RootloomError } from '../errors.js';
import { digestFile } from '../util/digest.js';
import { listIfThere, statIfThere } from '../util/lookup.js';
import { withSystemErrors } from '../util/system-error.js';
import { runTool } from '../util/tool.js';
import type { KernelOrigin } from './kernel-description.js';

/** The kernel that guests get unless told otherwise. It has what clouds need, and therefore virtio. */
export const DEFAULT_KERNEL_PACKAGE = 'linux-image-cloud-amd64';

export interface UnpackedKernel {
  /** A bzImage, or an ELF file with the note of a PVH entry. */
  kernelFile: string;
  /** Holds modules.dep; undefined for a kernel that has everything built in. */
  modulesDir: string | undefined;
  origin: KernelOrigin;
}

/**
 * Gets a package, from a .deb file or by name through apt's lists, and unpacks it into `workDir`. A package that only depends on
 * the current kernel's package stands for that one.
 *
 * Rejects with NOT_FOUND for an unknown package, UNSUPPORTED for one without a kernel, TOOL_MISSING, IO, or `signal.reason`.
 */
export async function unpackKernelPackage(
  nameOrFile: string,
  workDir: string,
  signal?: AbortSignal,
): Promise<UnpackedKernel> {
  const deb = nameOrFile.endsWith('.deb') ? nameOrFile : await download(nameOrFile, workDir, signal);
  const { hex } = await digestFile(deb, { signal });
  const fields = (await runTool('dpkg-deb', ['-f', deb], `read the package ${deb}`, { signal })).toString();
  const root = path.join(workDir, 'package');
  await withSystemErrors('create', root, () => mkdir(root));
  await runTool('dpkg-deb', ['-x', deb, root], `unpack the package ${deb}`, { signal });
  const kernel = (await listIfThere(path.join(root, 'boot'))).find((name) => name.startsWith('vmlinuz-'));
  if (kernel === undefined) {
    const message = `Cannot make a kernel bundle of ${nameOrFile}: the package holds no kernel, wanted one with boot/vmlinuz-VERSION`;
    throw new RootloomError('UNSUPPORTED', message, { operation: 'make a kernel bundle', path: deb });
  }
  const version = kernel.slice('vmlinuz-'.length);
  // Newer packages have their modules in usr/lib, where the installed system's lib is a link to.
  const lib = path.join(root, 'lib');
  if ((await statIfThere(lib)) === undefined)
    await withSystemErrors('create the link', lib, () => symlink('usr/lib', lib));
  await runTool('depmod', ['-b', root, version], 'read the dependencies of kernel modules', { signal });
  const origin: KernelOrigin = {
    kind: 'package',
    name: field(fields, 'Package'),
    version: field(fields, 'Version'),
    architecture: field(fields, 'Architecture'),
    sha256: hex,
  };
  const modulesDir = path.join(root, 'lib', 'modules', version);
  return { kernelFile: path.join(root, 'boot', kernel), modulesDir, origin };
}

/** A kernel file of the user's. `modulesDir` is like /lib/modules/VERSION. Rejects with NOT_FOUND or IO. */
export async function useKernelFile(
  kernelFile: string,
  modulesDir: string | undefined,
  signal?: AbortSignal,
): Promise<UnpackedKernel> {
  const { hex } = await digestFile(kernelFile, { signal });
  if (modulesDir !== undefined) await withSystemErrors('read', modulesDir, () => stat(modulesDir));
  return { kernelFile, modulesDir, origin: { kind: 'file', sha256: hex } };
}

/**
 * The version that a kernel file names: "6.1.0-56-cloud-amd64". Rejects with UNSUPPORTED for a file that is not a Linux
 * kernel.
 */
export async function readKernelVersion(kernelFile: string): Promise<string> {
  const kernel = await withSystemErrors('read the kernel', kernelFile, () => readFile(kernelFile));
  const banner = findBanner(kernel);
  const version = banner?.split(/[\s\0]/, 1)[0];
  if (version) return version;
  const message = `Cannot use ${kernelFile} as a kernel: it names no version, wanted a bzImage or an uncompressed vmlinux`;
  throw new RootloomError('UNSUPPORTED', message, { operation: 'read the kernel', path: kernelFile });
}

const MAX_BANNER_BYTES = 256;

function findBanner(kernel: Buffer): string | undefined {
  if (kernel.toString('latin1', 0x202, 0x206) === 'HdrS') {
    const start = kernel.readUInt16LE(0x20e) + 0x200; // The boot protocol's field kernel_version.
    return kernel.toString('latin1', start, start + MAX_BANNER_BYTES);
  }
  const prefix = 'Linux version ';
  const start = kernel.indexOf(prefix);
  if (start < 0 || kernel.toString('latin1', 1, 4) !== 'ELF') return undefined;
  return kernel.toString('latin1', start + prefix.length, start + prefix.length + MAX_BANNER_BYTES);
}

/** Downloads a package into `workDir` and returns the file. */
async function download(name: string, workDir: string, signal: AbortSignal | undefined): Promise<string> {
  const operation = `download the package ${name}`;
  const candidate = await resolve(name, operation, signal);
  const folder = path.join(workDir, 'download');
  await withSystemErrors('create', folder, () => mkdir(folder));
  await runTool('apt-get', ['-q', 'download', candidate], operation, { cwd: folder, signal });
  const file = (await listIfThere(folder)).find((entry) => entry.endsWith('.deb'));
  if (file === undefined)
    throw new RootloomError('IO', `Cannot ${operation}: apt left no file`, { operation });
  return path.join(folder, file);
}

/** "name=version" of the package that has the kernel: `name` itself, or the exact one that it depends on. */
async function resolve(name: string, operation: string, signal: AbortSignal | undefined): Promise<string> {
  const args = ['show', '--no-all-versions', name];
  const fields = (
    await runTool('apt-cache', args, operation, { signal }).catch((error: unknown) => {
      if (!(error instanceof RootloomError && error.code === 'IO')) throw error;
      const message = `Cannot ${operation}: apt does not know it, wanted one of its lists' (apt-get update renews them)`;
      throw new RootloomError('NOT_FOUND', message, error.context, { cause: error });
    })
  ).toString();
  const exact = /^Depends:.*\b(?<target>linux-image-\d\S*) \(= (?<version>[^)]+)\)/m.exec(fields)?.groups;
  if (exact !== undefined) return `${exact.target}=${exact.version}`;
  return `${name}=${field(fields, 'Version')}`;
}

/** A field of a Debian control paragraph; empty when it has none. */
function field(paragraph: string, name: string): string {
  const line = paragraph.split('\n').find((candidate) => candidate.startsWith(`${name}: `));
  return line?.slice(name.length + 2).trim() ?? '';
}

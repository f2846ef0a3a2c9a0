/** Which modules of a kernel an initramfs needs, and in which order they are loaded. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { gunzipSync } from 'node:zlib';
import { RootloomError } from '../errors.js';
import { withSystemErrors } from '../util/system-error.js';
import { runTool } from '../util/tool.js';

/** Without these no guest of ours boots; a kernel has them as modules or built in. */
const REQUIRED = ['virtio_mmio', 'virtio_blk', 'ext4', 'virtio_console'] as const;

/**
 * Taken when the kernel has them: a root filesystem for every kernel cannot bring modules of its own. crc32c_intel makes ext4's
 * checksums cheap.
 */
const OPTIONAL = [
  'crc32c_intel',
  'virtio_net',
  'virtio_rng',
  'vmw_vsock_virtio_transport',
  'fuse',
  'overlay',
  'autofs4',
] as const;

/** Every module that may come into an initramfs by itself, as opposed to those it needs. */
export const MODULE_CHOICE: readonly string[] = [...REQUIRED, ...OPTIONAL];

export interface KernelModule {
  /** "virtio_blk" */
  name: string;
  /** Uncompressed. */
  content: Buffer;
}

/**
 * Reads the modules wanted from `/lib/modules/<version>` of a kernel, each after those it depends on, as modules.dep and
 * modules.builtin say. The order depends on the kernel alone.
 *
 * @param modulesDir The folder that holds modules.dep; depmod has been run for it.
 * @throws RootloomError UNSUPPORTED when the kernel lacks a required one, NOT_FOUND, CORRUPT for a module that does not unpack, IO,
 *   TOOL_MISSING (xz, zstd), or `signal.reason`.
 */
export async function readModules(modulesDir: string, signal?: AbortSignal): Promise<KernelModule[]> {
  const [dependencies, builtin] = await withSystemErrors('read the modules of', modulesDir, async () => [
    parseDependencies(await readFile(path.join(modulesDir, 'modules.dep'), 'utf8')),
    parseBuiltin(await readFile(path.join(modulesDir, 'modules.builtin'), 'utf8')),
  ]);
  const wanted = MODULE_CHOICE.filter((name) => !builtin.has(name));
  const missing = REQUIRED.find((name) => !builtin.has(name) && !dependencies.has(name));
  if (missing !== undefined) {
    const message = `Cannot use the kernel modules in ${modulesDir}: ${missing} is not among them, and every guest needs it`;
    throw new RootloomError('UNSUPPORTED', message, { operation: 'choose kernel modules', path: modulesDir });
  }
  const modules: KernelModule[] = [];
  for (const name of orderModules(wanted, dependencies)) {
    const file = path.join(modulesDir, (dependencies.get(name) as Dependency).file);
    modules.push({ name, content: await readModule(file, signal) });
  }
  return modules;
}

interface Dependency {
  /** Relative to the folder of modules.dep. */
  file: string;
  /** Names of modules that it needs loaded first. */
  needs: string[];
}

/** The kernel takes "-" and "_" in a module's name for the same. */
export function moduleName(file: string): string {
  return path
    .basename(file)
    .replace(/\.ko(\.(gz|xz|zst))?$/, '')
    .replaceAll('-', '_');
}

/** Reads modules.dep: "file: file it needs …" a line. */
export function parseDependencies(text: string): Map<string, Dependency> {
  const dependencies = new Map<string, Dependency>();
  for (const line of text.split('\n')) {
    const [file = '', needs = ''] = line.split(':');
    if (file === '') continue;
    const names = needs
      .trim()
      .split(/\s+/)
      .filter((need) => need !== '')
      .map(moduleName);
    dependencies.set(moduleName(file), { file, needs: names });
  }
  return dependencies;
}

function parseBuiltin(text: string): Set<string> {
  return new Set(
    text
      .split('\n')
      .filter((line) => line !== '')
      .map(moduleName),
  );
}

/** `wanted` and all that they need, each after what it needs itself; what does not exist is left out. */
export function orderModules(wanted: readonly string[], dependencies: Map<string, Dependency>): string[] {
  const ordered = new Set<string>();
  const visit = (name: string, above: readonly string[]) => {
    const dependency = dependencies.get(name);
    if (dependency === undefined || ordered.has(name) || above.includes(name)) return;
    for (const need of dependency.needs) visit(need, [...above, name]);
    ordered.add(name);
  };
  for (const name of wanted) visit(name, []);
  return [...ordered];
}

async function readModule(file: string, signal: AbortSignal | undefined): Promise<Buffer> {
  const operation = `unpack the kernel module ${path.basename(file)}`;
  if (file.endsWith('.xz')) return runTool('xz', ['-dc', file], operation, { signal });
  if (file.endsWith('.zst')) return runTool('zstd', ['-dc', file], operation, { signal });
  const stored = await withSystemErrors('read', file, () => readFile(file, { signal }));
  if (!file.endsWith('.gz')) return stored;
  try {
    return gunzipSync(stored);
  } catch (cause) {
    const message = `Cannot ${operation}: ${(cause as Error).message}, wanted gzip data`;
    throw new RootloomError('CORRUPT', message, { operation, path: file }, { cause });
  }
}

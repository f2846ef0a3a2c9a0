/** `rootloom kernel`: makes a kernel bundle, which virtual machines boot with. */
import { type Command, Option } from 'commander';
import { ensureKernelBundle, type KernelBundle, makeKernelBundle } from '../../index.js';
import { UsageError } from '../arguments.js';
import { type CommandContext, type GlobalOptions, withGlobalOptions } from '../context.js';
import { formatPairs, printResult } from '../output.js';
import { withProgress } from '../progress.js';

interface KernelOptions extends GlobalOptions {
  package?: string;
  vmlinux?: string;
  modules?: string;
}

function formatBundle({ path, digest, description }: KernelBundle): string {
  const { version, origin, kernel, initramfs } = description;
  return formatPairs([
    ['folder', path],
    ['version', version],
    ['from', origin.kind === 'package' ? `${origin.name} ${origin.version}` : 'a file'],
    ['kernel', `${kernel.size} bytes`],
    ['initramfs', `${initramfs.size} bytes`],
    ['digest', digest],
  ]);
}

/** The default bundle where builds look for it, or one of the user's choice in a folder of its own. */
function makeBundle(
  folder: string | undefined,
  { package: packageName, vmlinux, modules }: KernelOptions,
  signal: AbortSignal,
): Promise<KernelBundle> {
  if (modules !== undefined && vmlinux === undefined) {
    throw new UsageError('Cannot make a kernel bundle: --modules belongs to a --vmlinux');
  }
  if (folder !== undefined) {
    return makeKernelBundle({ outDir: folder, package: packageName, vmlinux, modulesDir: modules, signal });
  }
  if (packageName === undefined && vmlinux === undefined) return ensureKernelBundle({ signal });
  throw new UsageError('Cannot make a kernel bundle of your own: a folder for it is needed');
}

export function addKernelCommand(program: Command, { signal }: CommandContext): void {
  withGlobalOptions(
    program
      .command('kernel')
      .description('make a kernel bundle: kernel, initramfs and their description')
      .argument('[folder]', 'a new one (default: where builds look, and only if it is not there)')
      .addOption(
        new Option('--package <name>', 'a Debian kernel package: a name, or the path of a .deb').conflicts(
          'vmlinux',
        ),
      )
      .option('--vmlinux <file>', 'a kernel of your own: a bzImage, or a vmlinux with a PVH entry')
      .option('--modules <folder>', 'its modules, like /lib/modules/VERSION'),
  ).action(async (folder: string | undefined, options: KernelOptions) => {
    const json = options.json === true;
    const bundle = await withProgress('make a kernel bundle', json, () =>
      makeBundle(folder, options, signal),
    );
    await printResult(bundle, json, formatBundle);
  });
}

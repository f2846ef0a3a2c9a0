/** `rootloom kernel`: makes a kernel bundle, which virtual machines boot with. */
import type { Command } from 'commander';
import { makeKernelBundle } from '../../index.js';
import { type CommandContext, type GlobalOptions, withGlobalOptions } from '../context.js';
import { formatPairs, printResult } from '../output.js';

interface KernelOptions extends GlobalOptions {
  package?: string;
  vmlinux?: string;
  modules?: string;
}

export function addKernelCommand(program: Command, { signal }: CommandContext): void {
  withGlobalOptions(
    program
      .command('kernel')
      .description('make a kernel bundle: kernel, initramfs and their description')
      .argument('<folder>', 'a folder that does not exist yet')
      .option('--package <name>', 'a Debian kernel package: a name, or the path of a .deb')
      .option('--vmlinux <file>', 'a kernel of your own instead')
      .option('--modules <folder>', 'its modules (lib/modules/VERSION)'),
  ).action(async (folder: string, options: KernelOptions) => {
    const { package: packageName, vmlinux, modules } = options;
    const bundle = await makeKernelBundle({
      outDir: folder,
      signal,
      ...(packageName === undefined ? {} : { package: packageName }),
      ...(vmlinux === undefined ? {} : { vmlinux }),
      ...(modules === undefined ? {} : { modulesDir: modules }),
    });
    printResult(bundle, options.json === true, ({ description }) =>
      formatPairs([
        ['folder', folder],
        ['version', description.version],
      ]),
    );
  });
}

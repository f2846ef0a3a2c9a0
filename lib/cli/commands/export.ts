/** `rootloom export ID FILE`: a build's disk as a raw, sparse image. */
import type { Command } from 'commander';
import { copyDeviceToFile, openRootfs } from '../../index.js';
import { type CommandContext, type GlobalOptions, withGlobalOptions, withStore } from '../context.js';
import { printResult } from '../output.js';
import { withProgress } from '../progress.js';

export function addExportCommand(program: Command, context: CommandContext): void {
  withGlobalOptions(
    program
      .command('export')
      .description('write a disk as a raw, sparse image')
      .argument('<id>')
      .argument('<file>'),
  ).action(async (id: string, file: string, options: GlobalOptions) => {
    const { signal } = context;
    const result = await withStore(options, context, async (store) => {
      await using rootfs = await openRootfs(store, id, { signal });
      await withProgress(`export ${id}`, options.json === true, (onProgress) =>
        copyDeviceToFile(rootfs.device, file, { signal, onProgress }),
      );
      return { buildId: rootfs.build.id, file, size: rootfs.device.size };
    });
    printResult(result, options.json === true, ({ size }) => `${file}: ${size} bytes`);
  });
}

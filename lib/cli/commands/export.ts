/** `rootloom export ID FILE`: a build's disk as a raw, sparse image. */
import { lstat } from 'node:fs/promises';
import type { Command } from 'commander';
import { copyDeviceToFile, formatByteSize, openBuild, RootloomError } from '../../index.js';
import { parseId } from '../arguments.js';
import { type CommandContext, type GlobalOptions, withGlobalOptions, withStore } from '../context.js';
import { printResult } from '../output.js';
import { withProgress } from '../progress.js';

interface ExportOptions extends GlobalOptions {
  force?: boolean;
}

async function throwIfThere(file: string): Promise<void> {
  const isThere = await lstat(file).then(
    () => true,
    () => false,
  );
  if (!isThere) return;
  const message = `Cannot export to ${file}: it exists, a new file or --force was wanted`;
  throw new RootloomError('INVALID_ARGUMENT', message, { path: file });
}

export function addExportCommand(program: Command, context: CommandContext): void {
  withGlobalOptions(
    program
      .command('export')
      .description('write a disk as a raw, sparse image, byte for byte')
      .argument('<id>', 'of the build', parseId)
      .argument('<file>', 'to write; it appears when it is whole')
      .option('--force', 'replace a file that is there'),
  ).action(async (id: string, file: string, options: ExportOptions) => {
    const { signal } = context;
    const json = options.json === true;
    if (options.force !== true) await throwIfThere(file);
    const written = await withStore(options, context, async (store) => {
      const build = await openBuild(store, id, { signal });
      await using disk = await build.openDisk({ signal });
      return await withProgress(`export ${id}`, json, (onProgress) =>
        copyDeviceToFile(disk, file, { signal, onProgress }),
      );
    });
    await printResult(
      { buildId: id, file, ...written },
      json,
      ({ size, dataBytes }) => `${file}: ${formatByteSize(size)}, ${formatByteSize(dataBytes)} of it data`,
    );
  });
}

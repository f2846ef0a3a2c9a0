/** `rootloom serve ID --socket PATH`: a build's disk over NBD on a unix socket, until interrupted. */
import type { Command } from 'commander';
import { type Export, openRootfs, serve } from '../../index.js';
import { parseId } from '../arguments.js';
import { type CommandContext, type GlobalOptions, withGlobalOptions, withStore } from '../context.js';
import { printResult } from '../output.js';
import { waitForAbort } from '../waiting.js';

interface ServeCommandOptions extends GlobalOptions {
  socket: string;
  writable?: boolean;
}

export function addServeCommand(program: Command, { signal }: CommandContext): void {
  withGlobalOptions(
    program
      .command('serve')
      .description('serve a disk over NBD until interrupted')
      .argument('<id>', 'of the build', parseId)
      .requiredOption('--socket <path>', 'unix socket to listen on')
      .option('--writable', 'take writes, into an overlay that is thrown away at the end'),
  ).action(async (id: string, options: ServeCommandOptions) => {
    const writable = options.writable === true;
    const announce = ({ uri, socketPath }: Export, size: number) =>
      printResult({ buildId: id, uri, socketPath, size, writable }, options.json === true, () => uri);
    await withStore(options, { signal }, async (store) => {
      await using rootfs = await openRootfs(store, id, { writable, signal });
      const { device } = rootfs;
      await using served = await serve(device, { socketPath: options.socket, readOnly: !writable, signal });
      await announce(served, device.size);
      await waitForAbort(signal); // Which is how this command ends: that is success.
    });
  });
}

/** `rootloom serve ID --socket PATH`: a build's disk over NBD on a unix socket, until interrupted. */
import type { Command } from 'commander';
import { openRootfs, serve } from '../../index.js';
import { type CommandContext, type GlobalOptions, withGlobalOptions, withStore } from '../context.js';
import { printResult } from '../output.js';

interface ServeCommandOptions extends GlobalOptions {
  socket: string;
  writable?: boolean;
}

function waitForAbort(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    // The listener alone does not keep the process alive; the timer does.
    const alive = setInterval(() => {}, 2 ** 30);
    signal.addEventListener(
      'abort',
      () => {
        clearInterval(alive);
        resolve();
      },
      { once: true },
    );
  });
}

export function addServeCommand(program: Command, context: CommandContext): void {
  withGlobalOptions(
    program
      .command('serve')
      .description('serve a disk over NBD until interrupted')
      .argument('<id>')
      .requiredOption('--socket <path>', 'unix socket to listen on')
      .option('--writable', 'take writes into an overlay that is thrown away at the end'),
  ).action(async (id: string, options: ServeCommandOptions) => {
    const { signal } = context;
    const writable = options.writable === true;
    await withStore(options, context, async (store) => {
      await using rootfs = await openRootfs(store, id, { writable, signal });
      await using served = await serve(rootfs.device, { socketPath: options.socket, readOnly: !writable });
      const { uri } = served;
      printResult(
        { buildId: rootfs.build.id, uri, size: rootfs.device.size },
        options.json === true,
        () => uri,
      );
      await waitForAbort(signal);
    });
  });
}

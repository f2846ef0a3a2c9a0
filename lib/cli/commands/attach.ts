/** `rootloom attach`: a build's disk, or an empty one, as a /dev/nbdN of this machine, until interrupted. */
import type { Command } from 'commander';
import { attachEmpty } from '../../index.js';
import { parseConnections, parseId, parseSize, UsageError } from '../arguments.js';
import { type CommandContext, type GlobalOptions, withGlobalOptions } from '../context.js';
import { holdDisk } from '../held-disk.js';
import { printResult } from '../output.js';
import { holdRootfs } from './mount.js';

interface AttachCommandOptions extends GlobalOptions {
  empty?: boolean;
  size?: number;
  readOnly?: boolean;
  connections?: number;
}

/** Of every /dev/nbdN. */
const SECTOR_BYTES = 512;

/** Either the id of a build or the size of an empty disk. */
function whatToAttach(
  id: string | undefined,
  options: AttachCommandOptions,
): { id: string } | { size: number } {
  const { empty = false, size, readOnly = false } = options;
  if (empty === (id !== undefined))
    throw new UsageError('Cannot attach: either the id of a build or --empty is needed');
  if (empty !== (size !== undefined))
    throw new UsageError('Cannot attach: --empty and --size belong together');
  if (id !== undefined) return { id };
  if (readOnly)
    throw new UsageError('Cannot attach: --read-only is for builds, an empty disk is there to be written');
  if (size === undefined || size === 0 || size % SECTOR_BYTES !== 0) {
    throw new UsageError(`Cannot attach ${size} bytes: a multiple of ${SECTOR_BYTES} above 0 is wanted`);
  }
  return { size };
}

export function addAttachCommand(program: Command, context: CommandContext): void {
  withGlobalOptions(
    program
      .command('attach')
      .description('attach a disk as /dev/nbdN until interrupted; writes are thrown away')
      .argument('[id]', 'of a build', parseId)
      .option('--empty', 'a disk of zeros instead of a build')
      .option('--size <size>', 'of the empty disk', parseSize)
      .option('--read-only', 'take no writes')
      .option(
        '--connections <count>',
        'between the kernel and this process: 1 to 16 (default: 1)',
        parseConnections,
      ),
  ).action(async (id: string | undefined, options: AttachCommandOptions) => {
    const what = whatToAttach(id, options);
    if ('id' in what) return holdRootfs(what.id, undefined, options, context);
    const { connections } = options;
    const { signal } = context;
    const { size } = what;
    await holdDisk(
      context,
      () => attachEmpty(size, { connections, signal }),
      ({ devicePath: device }) => printResult({ device, size }, options.json === true, () => device),
    );
  });
}

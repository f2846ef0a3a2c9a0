/** `rootloom mount ID DIR`: a build's disk in a folder of this machine, until interrupted. */
import type { Command } from 'commander';
import {
  type AttachedRootfs,
  attachRootfs,
  type Device,
  type Isolation,
  type Mount,
  mountRootfs,
} from '../../index.js';
import { isolationOption, parseConnections, parseId, UsageError } from '../arguments.js';
import { type CommandContext, type GlobalOptions, withGlobalOptions, withStore } from '../context.js';
import { holdDisk } from '../held-disk.js';
import { OperationLog } from '../operation-log.js';
import { printResult } from '../output.js';
import { withProgress } from '../progress.js';

interface MountCommandOptions extends GlobalOptions {
  readOnly?: boolean;
  deviceOnly?: boolean;
  verify?: boolean;
  log?: boolean;
  options?: string;
  connections?: number;
  isolation?: Isolation;
}

function checkOptions(
  folder: string | undefined,
  { deviceOnly = false, options }: MountCommandOptions,
): void {
  if (deviceOnly && folder !== undefined) throw new UsageError('Cannot mount on a folder with --device-only');
  if (deviceOnly && options !== undefined) throw new UsageError('Cannot use --options without a mount');
  if (!deviceOnly && folder === undefined) {
    throw new UsageError('Cannot mount without a folder: one is needed, or --device-only');
  }
  if (options?.split(',').includes('')) throw new UsageError('Cannot use --options: one of them is empty');
}

/** What is attached by the command `attach`, or by `mount --device-only`. */
export async function holdRootfs(
  id: string,
  folder: string | undefined,
  options: MountCommandOptions,
  context: CommandContext,
): Promise<void> {
  const { signal } = context;
  const { readOnly = false, verify: check = false, json = false, connections, isolation } = options;
  await withStore(options, context, async (store) => {
    await using log = new OperationLog(json);
    const wrapDevice = options.log === true ? (disk: Device) => log.watch(disk) : undefined;
    const mountOptions = options.options?.split(',');
    const open = () =>
      withProgress<AttachedRootfs | Mount>(`attach ${id}`, json, (onProgress) => {
        const how = { readOnly, check, isolation, connections, wrapDevice, signal, onProgress };
        if (folder === undefined) return attachRootfs(store, id, how);
        return mountRootfs(store, id, folder, { ...how, options: mountOptions });
      });
    await holdDisk(context, open, (disk) => {
      const { devicePath: device } = disk;
      const path = 'path' in disk ? disk.path : undefined;
      return printResult({ buildId: id, device, path, readOnly }, json, () =>
        path === undefined ? device : `${device} on ${path}`,
      );
    });
  });
}

export function addMountCommand(program: Command, context: CommandContext): void {
  withGlobalOptions(
    program
      .command('mount')
      .description(
        'mount a disk in a folder until interrupted; writes are thrown away, the build never changes',
      )
      .argument('<id>', 'of the build', parseId)
      .argument('[folder]', 'to mount on; it must exist')
      .option('--read-only', 'take no writes')
      .option('--device-only', 'attach the disk as /dev/nbdN, and mount nothing')
      .addOption(isolationOption())
      .option('--verify', 'check filesystem and journald files first, and refuse what is not sound')
      .option('--log', 'show every operation of the device on standard error')
      .option('--options <list>', 'of the mount, as mount -o takes them; nosuid and nodev stand before them')
      .option(
        '--connections <count>',
        'between the kernel and this process: 1 to 16 (default: 1)',
        parseConnections,
      ),
  ).action(async (id: string, folder: string | undefined, options: MountCommandOptions) => {
    checkOptions(folder, options);
    await holdRootfs(id, folder, options, context);
  });
}

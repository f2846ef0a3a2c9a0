/** `rootloom devices`: the kernel's NBD devices, and clearing up after killed processes. */
import type { Command } from 'commander';
import {
  formatByteSize,
  type NbdDevice,
  nbdDevices,
  type ReclaimReport,
  reclaimDevices,
} from '../../index.js';
import { type CommandContext, type GlobalOptions, withGlobalOptions } from '../context.js';
import { formatTable, printResult } from '../output.js';

interface DevicesOptions extends GlobalOptions {
  reclaim?: boolean;
}

const USES: Record<NbdDevice['use'], string> = {
  free: 'free',
  ours: 'attached',
  left: 'left by a killed process',
  foreign: 'used by another program',
};

function formatDevices(devices: readonly NbdDevice[]): string {
  const free = devices.filter(({ use }) => use === 'free');
  const used = devices.filter(({ use }) => use !== 'free');
  const rows = used.map(({ path, use, size, ownerPid }) => [
    path,
    USES[use],
    formatByteSize(size),
    ownerPid === undefined ? '-' : String(ownerPid),
  ]);
  return `${rows.length === 0 ? '' : `${formatTable(['device', 'use', 'size', 'pid'], rows)}\n`}${free.length} of ${devices.length} free`;
}

function formatReport({ unmounted, reclaimed, inUse }: ReclaimReport): string {
  const lines = unmounted.map(({ path, device, lazily, reason }) =>
    lazily ? `unmounted ${path} of ${device} lazily: ${reason}` : `unmounted ${path} of ${device}`,
  );
  lines.push(...reclaimed.map((device) => `reclaimed ${device}`));
  lines.push(...inUse.map((device) => `${device} is in use, and free when its last user has gone`));
  return lines.join('\n') || 'nothing to reclaim';
}

export function addDevicesCommand(program: Command, { signal }: CommandContext): void {
  withGlobalOptions(
    program
      .command('devices')
      .description("list the kernel's NBD devices and who uses them")
      .option('--reclaim', 'unmount and free what killed processes of rootloom have left, and nothing else'),
  ).action(async (options: DevicesOptions) => {
    const json = options.json === true;
    if (options.reclaim === true) await printResult(await reclaimDevices({ signal }), json, formatReport);
    else await printResult(await nbdDevices({ signal }), json, formatDevices);
  });
}

/** `rootloom stat ID:PATH`: everything known about one file of a disk. */
import type { Command } from 'commander';
import { openRootfs } from '../../index.js';
import {
  type CommandContext,
  type GlobalOptions,
  parseImagePath,
  withGlobalOptions,
  withStore,
} from '../context.js';
import { formatMode, formatTime, ownerText } from '../file-text.js';
import { formatPairs, printResult } from '../output.js';

export function addStatCommand(program: Command, context: CommandContext): void {
  withGlobalOptions(
    program.command('stat').description('show one file of a disk').argument('<id:path>'),
  ).action(async (target: string, options: GlobalOptions) => {
    const { id, path } = parseImagePath(target);
    const { signal } = context;
    const file = await withStore(options, context, async (store) => {
      await using rootfs = await openRootfs(store, id, { signal });
      await using tree = await rootfs.openTree({ signal });
      const stat = await tree.lstat(path, { signal });
      const xattrs = await tree.getXattrs(path, { followLink: false, signal });
      return {
        path,
        ...stat,
        xattrs: Object.fromEntries(xattrs.map(({ name, value }) => [name, value.toString('base64')])),
      };
    });
    printResult(file, options.json === true, (stat) =>
      formatPairs([
        ['path', stat.path],
        ['type', stat.type],
        ['mode', `${formatMode(stat)} (${stat.mode.toString(8).padStart(4, '0')})`],
        ['owner', ownerText(stat)],
        ['bytes', `${stat.size}, ${stat.allocated} allocated`],
        ['inode', `${stat.inode}, ${stat.linkCount} links`],
        ['modified', formatTime(stat.mtimeNs)],
        ['changed', formatTime(stat.ctimeNs)],
        ...Object.entries(stat.xattrs).map(
          ([name, value]) => [`xattr ${name}`, `${value} (base64)`] as const,
        ),
      ]),
    );
  });
}

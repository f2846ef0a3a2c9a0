/** `rootloom ls ID:PATH`: the files of a folder inside a build's disk. */
import type { Command } from 'commander';
import { type FileStat, openRootfs } from '../../index.js';
import {
  type CommandContext,
  type GlobalOptions,
  parseImagePath,
  withGlobalOptions,
  withStore,
} from '../context.js';
import { formatMode, formatName, formatTime, ownerText } from '../file-text.js';
import { formatTable, printResult } from '../output.js';

/** Names on ext4 are bytes, so is the path to one. */
function joinPath(folder: string, name: string | Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from(`${folder}/`), Buffer.from(name)]);
}

export function addLsCommand(program: Command, context: CommandContext): void {
  withGlobalOptions(
    program.command('ls').description('list a folder of a disk').argument('<id:path>'),
  ).action(async (target: string, options: GlobalOptions) => {
    const { id, path } = parseImagePath(target);
    const { signal } = context;
    const files = await withStore(options, context, async (store) => {
      await using rootfs = await openRootfs(store, id, { signal });
      await using tree = await rootfs.openTree({ signal });
      const entries = await tree.list(path, { signal });
      const stats: (FileStat & { name: string })[] = [];
      for (const { name, nameBytes } of entries) {
        stats.push({ name, ...(await tree.lstat(joinPath(path, nameBytes ?? name), { signal })) });
      }
      return stats;
    });
    printResult(files, options.json === true, (rows) =>
      formatTable(
        ['mode', 'links', 'owner', 'bytes', 'modified', 'name'],
        rows.map((file) => [
          formatMode(file),
          String(file.linkCount),
          ownerText(file),
          String(file.size),
          formatTime(file.mtimeNs),
          formatName(file.name),
        ]),
      ),
    );
  });
}

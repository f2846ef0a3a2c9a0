/** `rootloom ls ID:PATH`: the files of a folder inside a build's disk. */
import type { Command } from 'commander';
import { openRootfs } from '../../index.js';
import { type CommandContext, type GlobalOptions, parseImagePath, withGlobalOptions, withStore } from '../context.js';
import { formatMode, formatName, ownerText } from '../file-text.js';
import { formatTable, printResult } from '../output.js';

export function addLsCommand(program: Command, context: CommandContext): void {
  withGlobalOptions(program.command('ls').description('list a folder of a disk').argument('<id:path>')).action(
    async (target: string, options: GlobalOptions) => {
      const { id, path } = parseImagePath(target);
      const { signal } = context;
      const files = await withStore(options, context, async (store) => {
        await using rootfs = await openRootfs(store, id, { signal });
        await using tree = await rootfs.openTree({ signal });
        const entries = await tree.list(path, { signal });
        const folder = path.replace(/\/+$/, '');
        return Promise.all(
          entries.map(async ({ name }) => ({ name, ...(await tree.lstat(`${folder}/${name}`, { signal })) })),
        );
      });
      printResult(files, options.json === true, (rows) =>
        formatTable(
          ['mode', 'links', 'owner', 'bytes', 'modified', 'name'],
          rows.map((file) => [
            formatMode(file),
            String(file.linkCount),
            ownerText(file),
            String(file.size),
            file.mtime.toISOString(),
            formatName(file.name),
          ]),
        ),
      );
    },
  );
}

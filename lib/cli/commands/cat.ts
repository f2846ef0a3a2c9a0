/** `rootloom cat ID:PATH`: a file's content on standard output. */
import { createReadStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { Command } from 'commander';
import { openRootfs } from '../../index.js';
import {
  type CommandContext,
  type GlobalOptions,
  parseImagePath,
  withGlobalOptions,
  withStore,
} from '../context.js';

export function addCatCommand(program: Command, context: CommandContext): void {
  withGlobalOptions(
    program.command('cat').description('print a file of a disk').argument('<id:path>'),
  ).action(async (target: string, options: GlobalOptions) => {
    const { id, path: file } = parseImagePath(target);
    const { signal } = context;
    const folder = await mkdtemp(path.join(tmpdir(), 'rootloom-cat-'));
    try {
      const copy = path.join(folder, 'content');
      await withStore(options, context, async (store) => {
        await using rootfs = await openRootfs(store, id, { signal });
        await using tree = await rootfs.openTree({ signal });
        await tree.copyOut(file, copy, { signal });
      });
      await pipeline(createReadStream(copy), process.stdout, { end: false, signal });
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
}

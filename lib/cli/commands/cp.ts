/** `rootloom cp ID:PATH FILE`: copies a file or a folder out of a disk. */
import { lstat, mkdtemp, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import type { Command } from 'commander';
import { type CopyOutReport, copyOutTree, RootloomError } from '../../index.js';
import { isImagePath, parseImagePath, UsageError } from '../arguments.js';
import { type CommandContext, type GlobalOptions, withGlobalOptions, withTree } from '../context.js';
import { formatName } from '../file-text.js';
import { printResult } from '../output.js';
import { withProgress } from '../progress.js';

const isThere = (file: string) =>
  lstat(file).then(
    () => true,
    () => false,
  );

const isFolder = (file: string) =>
  stat(file).then(
    (found) => found.isDirectory(),
    () => false,
  );

/** Where the copy goes: into a folder that is there, under the source's own name; else exactly where the user says. */
async function placeOf(source: string, target: string): Promise<string> {
  const name = path.posix.basename(source);
  const place = path.resolve((await isFolder(target)) ? path.join(target, name) : target);
  if (!(await isThere(place))) return place;
  throw new RootloomError(
    'INVALID_ARGUMENT',
    `Cannot copy to ${place}: it exists, a name that is not taken was wanted`,
    { path: place },
  );
}

/** Copies beside `place` first, so that an interrupted copy leaves nothing. */
async function copyWhole(
  place: string,
  copy: (target: string) => Promise<CopyOutReport>,
): Promise<CopyOutReport> {
  const folder = await mkdtemp(path.join(path.dirname(place), '.rootloom-cp-'));
  try {
    const target = path.join(folder, 'copy');
    const report = await copy(target);
    if (await isThere(target)) await rename(target, place);
    return report;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function formatReport({ files, bytes, skipped }: CopyOutReport): string {
  return [
    `${files} ${files === 1 ? 'file' : 'files'}, ${bytes} bytes`,
    ...skipped.map((file) => `not copied, it is a device, fifo or socket: ${formatName(file)}`),
  ].join('\n');
}

export function addCpCommand(program: Command, context: CommandContext): void {
  withGlobalOptions(
    program
      .command('cp')
      .description('copy a file or a folder out of a disk; nothing can be copied in, for builds never change')
      .argument('<id:path>', 'a build and a path in it')
      .argument('<target>', 'a folder that is there, or a new name'),
  ).action(async (source: string, target: string, options: GlobalOptions) => {
    if (isImagePath(target)) {
      throw new UsageError(
        `Cannot copy into ${target}: builds never change; serve --writable lends a disk that takes writes`,
      );
    }
    const { id, path: file } = parseImagePath(source);
    const json = options.json === true;
    const { signal } = context;
    const report = await withTree(options, context, id, async (tree) => {
      await tree.lstat(file, { signal });
      const place = await placeOf(file, target);
      return withProgress(`copy ${source}`, json, (onProgress) =>
        copyWhole(place, (copy) => copyOutTree(tree, file, copy, { signal, onProgress })),
      );
    });
    await printResult(report, json, formatReport);
  });
}

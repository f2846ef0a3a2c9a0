/** `rootloom ls ID:PATH`: the files of a folder inside a build's disk. */
import type { Command } from 'commander';
import type { Ext4Tree, FileStat } from '../../index.js';
import { type ImagePath, parseImagePath } from '../arguments.js';
import { type CommandContext, type GlobalOptions, withGlobalOptions, withTree } from '../context.js';
import { formatMode, formatName, formatOwner, formatTime } from '../file-text.js';
import { formatTable, printResult } from '../output.js';

interface ShownFile extends FileStat {
  name: string;
  /** The name itself, only when it is not valid UTF-8. */
  nameBytes?: Buffer;
  /** Of a symbolic link. */
  target?: string;
  targetBytes?: Buffer;
}

/** Each is a native call with a thread of its own, and a listener of the signal, of which Node finds more than ten suspicious. */
const FILES_AT_ONCE = 8;

/** Names on ext4 are bytes, so is the path to one. */
function joinPath(folder: string, name: string | Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from(`${folder}/`), Buffer.from(name)]);
}

async function describeFile(
  tree: Ext4Tree,
  path: string | Uint8Array,
  name: Pick<ShownFile, 'name' | 'nameBytes'>,
  signal: AbortSignal,
): Promise<ShownFile> {
  const stat = await tree.lstat(path, { signal });
  return { ...name, ...stat, ...(stat.type === 'symlink' && (await tree.readlink(path, { signal }))) };
}

/** The files of a folder, or the one that is no folder. */
async function listFiles(tree: Ext4Tree, path: string, signal: AbortSignal): Promise<ShownFile[]> {
  const { type } = await tree.stat(path, { signal });
  if (type !== 'directory') return [await describeFile(tree, path, { name: path }, signal)];
  const files: ShownFile[] = [];
  const entries = await tree.list(path, { signal });
  for (let start = 0; start < entries.length; start += FILES_AT_ONCE) {
    const batch = entries.slice(start, start + FILES_AT_ONCE).map(({ name, nameBytes }) => {
      const named = nameBytes === undefined ? { name } : { name, nameBytes };
      return describeFile(tree, joinPath(path, nameBytes ?? name), named, signal);
    });
    files.push(...(await Promise.all(batch)));
  }
  return files;
}

function rowOf(file: ShownFile): string[] {
  const { name, target, device, size, linkCount, mtimeNs } = file;
  return [
    formatMode(file),
    String(linkCount),
    formatOwner(file),
    device === undefined ? String(size) : `${device.major}, ${device.minor}`,
    formatTime(mtimeNs),
    target === undefined ? formatName(name) : `${formatName(name)} -> ${formatName(target)}`,
  ];
}

export function addLsCommand(program: Command, context: CommandContext): void {
  withGlobalOptions(
    program
      .command('ls')
      .description('list a folder of a disk')
      .argument('<id:path>', 'a build and a path in it', parseImagePath),
  ).action(async ({ id, path }: ImagePath, options: GlobalOptions) => {
    const files = await withTree(options, context, id, (tree) => listFiles(tree, path, context.signal));
    await printResult(files, options.json === true, (rows) =>
      formatTable(['mode', 'links', 'owner', 'bytes', 'modified', 'name'], rows.map(rowOf)),
    );
  });
}

/** `rootloom stat ID:PATH`: everything known about one file of a disk. */
import type { Command } from 'commander';
import type { Ext4Tree, FileStat, Xattr } from '../../index.js';
import { type ImagePath, parseImagePath } from '../arguments.js';
import { type CommandContext, type GlobalOptions, withGlobalOptions, withTree } from '../context.js';
import { formatMode, formatName, formatOwner, formatTime } from '../file-text.js';
import { formatPairs, printResult } from '../output.js';

interface DescribedFile extends FileStat {
  path: string;
  /** Of a symbolic link. */
  target?: string;
  xattrs: Xattr[];
}

async function describeFile(tree: Ext4Tree, path: string, signal: AbortSignal): Promise<DescribedFile> {
  const stat = await tree.lstat(path, { signal });
  return {
    path,
    ...stat,
    ...(stat.type === 'symlink' && (await tree.readlink(path, { signal }))),
    xattrs: await tree.getXattrs(path, { followLink: false, signal }),
  };
}

/** As text where it is some, in hexadecimal otherwise. */
function formatXattr(value: Buffer): string {
  const text = value.toString();
  return /^[\x20-\x7e]*$/.test(text) ? text : `0x${value.toString('hex')}`;
}

function formatFile(file: DescribedFile): string {
  const { path, type, target, device, xattrs } = file;
  return formatPairs([
    ['path', formatName(path)],
    ['type', type],
    ...(target === undefined ? [] : [['target', formatName(target)] as const]),
    ...(device === undefined ? [] : [['device', `${device.major}, ${device.minor}`] as const]),
    ['mode', `${formatMode(file)} (${file.mode.toString(8).padStart(4, '0')})`],
    ['owner', formatOwner(file)],
    ['bytes', `${file.size}, ${file.allocated} allocated`],
    ['inode', `${file.inode}, ${file.linkCount} links`],
    ['accessed', formatTime(file.atimeNs)],
    ['modified', formatTime(file.mtimeNs)],
    ['changed', formatTime(file.ctimeNs)],
    ['made', formatTime(file.birthtimeNs)],
    ...xattrs.map(({ name, value }) => [`xattr ${formatName(name)}`, formatXattr(value)] as const),
  ]);
}

export function addStatCommand(program: Command, context: CommandContext): void {
  withGlobalOptions(
    program
      .command('stat')
      .description('show all that is known about one file of a disk; a link itself is shown')
      .argument('<id:path>', 'a build and a path in it', parseImagePath),
  ).action(async ({ id, path }: ImagePath, options: GlobalOptions) => {
    const file = await withTree(options, context, id, (tree) => describeFile(tree, path, context.signal));
    await printResult(file, options.json === true, formatFile);
  });
}

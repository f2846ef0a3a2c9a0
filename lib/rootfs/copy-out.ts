/** Copies files out of an image to the host. */
import { lutimes, mkdir, symlink, utimes } from 'node:fs/promises';
import path from 'node:path';
import { RootloomError } from '../errors.js';
import type { CallOptions } from '../native/call.js';
import type { Ext4Tree } from '../native/ext4-tree.js';
import type { WalkedFile } from '../native/ext4-tree-types.js';
import { withSystemErrors } from '../util/system-error.js';

export interface CopyOutReport {
  files: number;
  /** Content copied, in bytes. */
  bytes: number;
  /** Devices, fifos and sockets, which are not made on the host. */
  skipped: string[];
}

const NANOSECONDS = 1_000_000_000;

async function copyFile(
  tree: Ext4Tree,
  file: WalkedFile,
  target: Buffer,
  options: CallOptions,
): Promise<number> {
  const times = [Number(file.atimeNs) / NANOSECONDS, Number(file.mtimeNs) / NANOSECONDS] as const;
  if (file.type === 'symlink') {
    await symlink(file.targetBytes ?? (file.target as string), target);
    await lutimes(target, ...times);
    return 0;
  }
  if (!target.equals(Buffer.from(target.toString()))) {
    throw new RootloomError(
      'UNSUPPORTED',
      `Cannot copy ${file.path}: its name is not UTF-8, a name that is was wanted`,
      {
        path: file.path,
      },
    );
  }
  const bytes = await tree.copyOut(file.pathBytes ?? file.path, target.toString(), options);
  await utimes(target, ...times);
  return bytes;
}

/**
 * Copies a file, or a folder with everything below it, to `target`, which must not exist. Content, symbolic links and times
 * are kept; owners, modes and attributes are not given to files of the host, and links that were hard become copies.
 *
 * Rejects with NOT_FOUND, IO, NO_SPACE, UNSUPPORTED for a name that is not UTF-8, or the signal's reason; what was copied until then
 * stays.
 */
export async function copyOutTree(
  tree: Ext4Tree,
  source: string,
  target: string,
  options: CallOptions = {},
): Promise<CopyOutReport> {
  const report: CopyOutReport = { files: 0, bytes: 0, skipped: [] };
  const root = path.resolve(target);
  let prefixLength: number | undefined;
  for await (const file of tree.walk(source, options)) {
    const name = file.pathBytes ?? Buffer.from(file.path);
    prefixLength ??= file.path === '/' ? 0 : name.length;
    const destination = Buffer.concat([Buffer.from(root), name.subarray(prefixLength)]);
    await withSystemErrors('copy to', destination.toString(), async () => {
      if (file.type === 'directory') await mkdir(destination);
      else if (file.type === 'file' || file.type === 'symlink')
        report.bytes += await copyFile(tree, file, destination, options);
      else report.skipped.push(file.path);
    });
    if (file.type === 'file' || file.type === 'symlink') report.files += 1;
  }
  return report;
}

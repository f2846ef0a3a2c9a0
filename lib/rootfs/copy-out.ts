/** Copies files out of an image to the host. */
import { lutimes, mkdir, symlink, utimes } from 'node:fs/promises';
import path from 'node:path';
import { RootloomError } from '../errors.js';
import type { CallOptions } from '../native/call.js';
import type { Ext4Tree } from '../native/ext4-tree.js';
import type { WalkedFile } from '../native/ext4-tree-types.js';
import { withSystemErrors } from '../util/system-error.js';

export interface CopyOutReport {
  /** Regular files and symbolic links. */
  files: number;
  /** Content copied, in bytes. */
  bytes: number;
  /** Paths in the image of devices, fifos and sockets, which are not made on the host. */
  skipped: string[];
}

const NANOSECONDS = 1_000_000_000;

function timesOf({ atimeNs, mtimeNs }: WalkedFile): [number, number] {
  return [Number(atimeNs) / NANOSECONDS, Number(mtimeNs) / NANOSECONDS];
}

function nameOf({ path: text, pathBytes }: WalkedFile): Buffer {
  return pathBytes ?? Buffer.from(text);
}

/** The copy of one tree under way. Everything that it makes lies below folders that it has made itself. */
class TreeCopy {
  readonly report: CopyOutReport = { files: 0, bytes: 0, skipped: [] };
  /** By their paths on the host, which need not be UTF-8: latin1 keeps the bytes apart. */
  readonly #folders = new Map<string, WalkedFile>();

  constructor(
    private readonly tree: Ext4Tree,
    private readonly root: Buffer,
    private readonly options: CallOptions,
  ) {}

  /** @param relative What follows the root: empty for the root itself, else with a leading slash. */
  async add(file: WalkedFile, relative: Buffer): Promise<void> {
    this.#refuseEscape(file, relative);
    const target = Buffer.concat([this.root, relative]);
    await withSystemErrors('copy to', target.toString(), async () => {
      if (file.type === 'directory') {
        await mkdir(target);
        this.#folders.set(relative.toString('latin1'), file);
      } else if (file.type === 'file' || file.type === 'symlink') {
        this.report.bytes += await this.#copyFile(file, target);
        this.report.files += 1;
      } else {
        this.report.skipped.push(file.path);
      }
    });
  }

  /** Last of all, for whatever is put into a folder changes its time. */
  async setFolderTimes(): Promise<void> {
    for (const [relative, folder] of this.#folders) {
      const target = Buffer.concat([this.root, Buffer.from(relative, 'latin1')]);
      await withSystemErrors('copy to', target.toString(), () => utimes(target, ...timesOf(folder)));
    }
  }

  /** A crafted image has names with slashes, or that mean another folder: on the host they would lead elsewhere. */
  #refuseEscape(file: WalkedFile, relative: Buffer): void {
    if (relative.length === 0) return;
    const text = relative.toString('latin1');
    const end = text.lastIndexOf('/');
    const name = text.slice(end + 1);
    if (this.#folders.has(text.slice(0, end)) && name !== '' && name !== '.' && name !== '..') return;
    const message = `Cannot copy ${file.path}: its name is none that a file can have, a plain one was wanted`;
    throw new RootloomError('CORRUPT', message, { operation: 'copy out of the image', path: file.path });
  }

  async #copyFile(file: WalkedFile, target: Buffer): Promise<number> {
    if (file.type === 'symlink') {
      await symlink(file.targetBytes ?? (file.target as string), target);
      await lutimes(target, ...timesOf(file));
      return 0;
    }
    if (!target.equals(Buffer.from(target.toString()))) {
      const message = `Cannot copy ${file.path}: its name is not UTF-8, a name that is was wanted`;
      throw new RootloomError('UNSUPPORTED', message, { path: file.path });
    }
    const bytes = await this.tree.copyOut(nameOf(file), target.toString(), this.options);
    await utimes(target, ...timesOf(file));
    return bytes;
  }
}

/**
 * Copies a file, or a folder with everything below it, to `target`, which must not exist. Content, symbolic links and times
 * are kept; owners, modes and attributes are not given to files of the host, and links that were hard become copies. Nothing
 * is written outside of `target`, whatever the image says.
 *
 * Rejects with NOT_FOUND, IO, NO_SPACE, UNSUPPORTED for a name that is not UTF-8, CORRUPT for a damaged image, or the signal's
 * reason; what was copied until then stays.
 */
export async function copyOutTree(
  tree: Ext4Tree,
  source: string,
  target: string,
  options: CallOptions = {},
): Promise<CopyOutReport> {
  const copy = new TreeCopy(tree, Buffer.from(path.resolve(target)), options);
  let prefixLength: number | undefined;
  for await (const file of tree.walk(source, options)) {
    const name = nameOf(file);
    prefixLength ??= file.path === '/' ? 0 : name.length;
    await copy.add(file, file.path === '/' ? Buffer.alloc(0) : name.subarray(prefixLength));
  }
  await copy.setFolderTimes();
  return copy.report;
}

/** Reading the files of an ext4 image. */
import type { ProgressListener } from './addon.js';
import { type CallOptions, runNative } from './call.js';
import { nameBytes, named, native, type TreeHandle, toFileDigest, toXattr } from './ext4-tree-native.js';
import type {
  FileDigest,
  FileStat,
  LinkTarget,
  ListedFile,
  TreePath,
  WalkedFile,
  Xattr,
} from './ext4-tree-types.js';
import { OwnedHandle } from './handle.js';

/** How many files a walk fetches at once. */
const WALK_BATCH_FILES = 512;

export type SignalOptions = Pick<CallOptions, 'signal'>;
export interface LinkOptions extends SignalOptions {
  /** Whether a symbolic link at the end of the path is followed; default true. */
  followLink?: boolean | undefined;
}

/** The reading half of `Ext4Tree`, which says how trees behave. */
export abstract class TreeReader {
  protected readonly owned: OwnedHandle<TreeHandle>;

  constructor(handle: TreeHandle) {
    this.owned = new OwnedHandle(handle, 'tree', (released) => runNative(() => native.treeClose(released)));
  }

  /** Follows a link at the end of the path; `lstat` does not. */
  stat(path: TreePath, options: SignalOptions = {}): Promise<FileStat> {
    return this.owned.run((tree) => native.treeStat(tree, nameBytes(path, 'path'), true), options);
  }

  lstat(path: TreePath, options: SignalOptions = {}): Promise<FileStat> {
    return this.owned.run((tree) => native.treeStat(tree, nameBytes(path, 'path'), false), options);
  }

  /** The files of a directory, sorted by the bytes of their names, without "." and "..". */
  async list(path: TreePath, options: SignalOptions = {}): Promise<ListedFile[]> {
    const files = await this.owned.run((tree) => native.treeList(tree, nameBytes(path, 'path')), options);
    return files.map(({ name, ...rest }) => ({ ...named('name', name), ...rest }));
  }

  async readlink(path: TreePath, options: SignalOptions = {}): Promise<LinkTarget> {
    const target = await this.owned.run(
      (tree) => native.treeReadSymlink(tree, nameBytes(path, 'path')),
      options,
    );
    return named('target', target);
  }

  /** At most `length` bytes from `offset` on, less at the end of the file; default: all, up to 1 GiB. */
  readFile(
    path: TreePath,
    {
      offset = 0,
      length = Number.MAX_SAFE_INTEGER,
      ...options
    }: SignalOptions & { offset?: number; length?: number } = {},
  ): Promise<Buffer> {
    return this.owned.run(
      (tree) => native.treeReadFile(tree, nameBytes(path, 'path'), offset, length),
      options,
    );
  }

  /** Copies a file's content to a new host file, holes as holes. Resolves with its size in bytes. */
  copyOut(path: TreePath, hostPath: string, options: CallOptions = {}): Promise<number> {
    const { onProgress } = options;
    return this.owned.run(
      (tree) => native.treeCopyOut(tree, nameBytes(path, 'path'), hostPath, onProgress),
      options,
    );
  }

  /** All attributes, sorted by name. */
  async getXattrs(path: TreePath, { followLink = true, signal }: LinkOptions = {}): Promise<Xattr[]> {
    const start = (tree: TreeHandle) => native.treeXattrs(tree, nameBytes(path, 'path'), followLink);
    return (await this.owned.run(start, { signal })).map(toXattr);
  }

  /**
   * Every file at and below `path`: depth first, a directory before what is in it, names in order of their bytes.
   * Bounded memory. Rejects with INVALID_ARGUMENT when the tree is changed meanwhile.
   */
  async *walk(path: TreePath = '/', options: SignalOptions = {}): AsyncGenerator<WalkedFile, void, void> {
    for await (const { xattrs: _, ...file } of this.#walk(path, false, undefined, options)) yield file;
  }

  /** As `walk`, with all that two trees can differ in; reads every file. Progress is in files. */
  digest(path: TreePath = '/', options: CallOptions = {}): AsyncGenerator<FileDigest, void, void> {
    return this.#walk(path, true, options.onProgress, options);
  }

  async *#walk(
    path: TreePath,
    digest: boolean,
    onProgress: ProgressListener | undefined,
    options: SignalOptions,
  ): AsyncGenerator<FileDigest, void, void> {
    const walk = await this.owned.run(
      (tree) => native.treeWalk(tree, nameBytes(path, 'path'), digest),
      options,
    );
    for (;;) {
      const files = await this.owned.run(
        () => native.treeWalkNext(walk, WALK_BATCH_FILES, onProgress),
        options,
      );
      if (files.length === 0) return;
      for (const file of files) yield toFileDigest(file);
    }
  }
}

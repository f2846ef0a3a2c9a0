/** The files of an ext4 image, read and changed without a kernel, a mount or root. */
import { type CallOptions, runNative } from './call.js';
import type { Device } from './device.js';
import { nameBytes, named, native, type TreeHandle } from './ext4-tree-native.js';
import { type LinkOptions, type SignalOptions, TreeReader } from './ext4-tree-reader.js';
import type { AttributeChange, LayerReport, NewFile, NewNode, TreePath } from './ext4-tree-types.js';
import { type EngineOptions, engineRequest } from './isolation.js';

export interface TreeOptions extends Omit<EngineOptions, 'onProgress' | 'logger'> {
  /** Default false. */
  writable?: boolean | undefined;
  /** What every change is stamped with, for equal bytes from equal inputs; default: the time of each change. */
  timeNs?: bigint | undefined;
}

/**
 * Opens the tree of the filesystem on a device. It keeps what it needs of the device, which may be closed; nobody else
 * may write to it meanwhile. With `isolation: 'process'`, the default, a helper process has it open until it is closed.
 *
 * Rejects with CORRUPT when there is no ext4 filesystem, with UNSUPPORTED when its journal must be replayed first or,
 * with `writable`, when it has features that cannot be kept up (bigalloc, inline_data, casefold, encryption, quotas);
 * with ENGINE_CRASHED when the helper did not live through it.
 */
export async function openTree(
  device: Device,
  { writable = false, timeNs, isolation, scratchFolder, signal }: TreeOptions = {},
): Promise<Ext4Tree> {
  const engine = engineRequest({ isolation, scratchFolder });
  const options = { writable, timeNs, isolation: engine.isolation };
  const handle = await device.owned.runLong(
    (opened) => native.treeOpen(opened, options),
    { signal },
    (tree) => runNative(() => native.treeClose(tree)),
  );
  return new Ext4Tree(handle);
}

/**
 * An open tree.
 *
 * Symbolic links are resolved inside the image: none leads out of it. Calls run one after the other. What was changed is
 * in the device after `flush` or `close`. Before that the device is as it was at the last `flush` or, without isolation, something
 * in between.
 *
 * A call that fails leaves the tree as it was, with two exceptions. A recursive removal has removed a part. And after an
 * IO or CORRUPT error of a change, or an `applyLayer` that failed or was aborted once it had reached an entry, the
 * content of the image is not known any more: later changes reject with that error, and `close` writes nothing. Work on
 * an overlay, and drop that.
 *
 * With isolation, a helper that crashes, hangs or says what makes no sense is ENGINE_CRASHED for the call that meets it and for
 * every later one, and `close` writes nothing. An abort is answered within some 50 ms; a change that the helper could not stop in that
 * time may still be made, and when it has not stopped by `close` either, that rejects with ENGINE_CRASHED and writes nothing.
 *
 * Errors: NOT_FOUND; INVALID_ARGUMENT with `errno` as Linux gives it (EEXIST, ENOTDIR, EISDIR, ENOTEMPTY,
 * ENAMETOOLONG, ELOOP); NO_SPACE when the image is full; IO with EROFS for changes of a tree that is not writable.
 */
export class Ext4Tree extends TreeReader {
  writeFile(
    path: TreePath,
    data: string | Uint8Array,
    { signal, ...file }: NewFile & SignalOptions = {},
  ): Promise<void> {
    const bytes = typeof data === 'string' ? Buffer.from(data) : data;
    return this.owned.run((tree) => native.treeWriteFile(tree, nameBytes(path, 'path'), bytes, file), {
      signal,
    });
  }

  /** Gives a file the content of a host file; zeros and holes become holes. */
  copyIn(
    hostPath: string,
    path: TreePath,
    { signal, onProgress, ...file }: NewFile & CallOptions = {},
  ): Promise<void> {
    const start = (tree: TreeHandle) =>
      native.treeCopyIn(tree, hostPath, nameBytes(path, 'path'), file, onProgress);
    return this.owned.run(start, { signal });
  }

  /**
   * Default mode 0755. With `recursive`, missing directories on the way are made, 0755 and root's, and a directory that
   * is there already is fine and left as it is.
   */
  mkdir(
    path: TreePath,
    { signal, ...directory }: AttributeChange & SignalOptions & { recursive?: boolean } = {},
  ): Promise<void> {
    return this.owned.run((tree) => native.treeMkdir(tree, nameBytes(path, 'path'), directory), { signal });
  }

  symlink(
    target: TreePath,
    path: TreePath,
    { signal, ...file }: NewFile & SignalOptions = {},
  ): Promise<void> {
    const start = (tree: TreeHandle) =>
      native.treeSymlink(tree, nameBytes(target, 'target'), nameBytes(path, 'path'), file);
    return this.owned.run(start, { signal });
  }

  /** A hard link to `existing` itself, also when that is a symbolic link. */
  link(existing: TreePath, path: TreePath, options: SignalOptions = {}): Promise<void> {
    const start = (tree: TreeHandle) =>
      native.treeLink(tree, nameBytes(existing, 'existing'), nameBytes(path, 'path'));
    return this.owned.run(start, options);
  }

  mknod(path: TreePath, { signal, ...node }: NewNode & SignalOptions): Promise<void> {
    return this.owned.run((tree) => native.treeMknod(tree, nameBytes(path, 'path'), node), { signal });
  }

  chmod(path: TreePath, mode: number, options: LinkOptions = {}): Promise<void> {
    return this.#change(path, { mode }, options);
  }

  /** What is not given stays. Capabilities and setuid bits stay, too. */
  chown(path: TreePath, owner: { uid?: number; gid?: number }, options: LinkOptions = {}): Promise<void> {
    return this.#change(path, { uid: owner.uid, gid: owner.gid }, options);
  }

  utimes(
    path: TreePath,
    times: { atimeNs?: bigint; mtimeNs?: bigint },
    options: LinkOptions = {},
  ): Promise<void> {
    return this.#change(path, { atimeNs: times.atimeNs, mtimeNs: times.mtimeNs }, options);
  }

  #change(
    path: TreePath,
    change: AttributeChange,
    { followLink = true, signal }: LinkOptions,
  ): Promise<void> {
    const start = (tree: TreeHandle) =>
      native.treeSetAttributes(tree, nameBytes(path, 'path'), followLink, change);
    return this.owned.run(start, { signal });
  }

  /** Rejects with UNSUPPORTED for a namespace that ext4 lacks, and when the file's attributes outgrow their room. */
  setXattr(
    path: TreePath,
    name: TreePath,
    value: string | Uint8Array,
    { followLink = true, signal }: LinkOptions = {},
  ): Promise<void> {
    const bytes = typeof value === 'string' ? Buffer.from(value) : value;
    const start = (tree: TreeHandle) =>
      native.treeSetXattr(tree, nameBytes(path, 'path'), followLink, nameBytes(name, 'name'), bytes);
    return this.owned.run(start, { signal });
  }

  removeXattr(
    path: TreePath,
    name: TreePath,
    { followLink = true, signal }: LinkOptions = {},
  ): Promise<void> {
    const start = (tree: TreeHandle) =>
      native.treeRemoveXattr(tree, nameBytes(path, 'path'), followLink, nameBytes(name, 'name'));
    return this.owned.run(start, { signal });
  }

  /** Removes a file or, with `recursive`, a directory and everything below it. */
  remove(
    path: TreePath,
    { recursive = false, signal }: SignalOptions & { recursive?: boolean } = {},
  ): Promise<void> {
    return this.owned.run((tree) => native.treeRemove(tree, nameBytes(path, 'path'), recursive), { signal });
  }

  /** Replaces what is at `to`: a directory only by a directory, and only when it is empty. */
  rename(from: TreePath, to: TreePath, options: SignalOptions = {}): Promise<void> {
    return this.owned.run(
      (tree) => native.treeRename(tree, nameBytes(from, 'from'), nameBytes(to, 'to')),
      options,
    );
  }

  /**
   * Applies one layer of an OCI image: the file of its blob, plain, gzip or zstd by its content. Whiteouts are obeyed, and
   * nothing touches the host's filesystem. Progress is in bytes of the blob.
   *
   * Rejects with CORRUPT when the archive is malformed or truncated, or its `diffId` is not the given one.
   */
  async applyLayer(
    blobPath: string,
    { diffId, ...options }: CallOptions & { diffId?: string | undefined } = {},
  ): Promise<LayerReport> {
    const start = (tree: TreeHandle) => native.treeApplyLayer(tree, blobPath, { diffId }, options.onProgress);
    const { skippedXattrs, ...report } = await this.owned.run(start, options);
    const skipped = skippedXattrs.map(({ path, name }) => ({
      ...named('path', path),
      ...named('name', name),
    }));
    return { ...report, skippedXattrs: skipped };
  }

  /** Writes everything to the device, and flushes it. */
  flush(options: SignalOptions = {}): Promise<void> {
    return this.owned.run((tree) => native.treeFlush(tree), options);
  }

  /** Waits for running calls, flushes, and frees. Idempotent; later calls reject with CLOSED. */
  close(): Promise<void> {
    return this.owned.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** The part of the addon that is about trees, and names on their way in and out. */
import {
  addon,
  type DeviceHandle,
  type NativeCall,
  type NativeHandle,
  type ProgressListener,
} from './addon.js';
import type {
  AttributeChange,
  FileDigest,
  FileStat,
  FileType,
  LayerReport,
  NewFile,
  NewNode,
  TreePath,
  Xattr,
} from './ext4-tree-types.js';
import type { EngineRequest } from './isolation.js';

export type TreeHandle = NativeHandle<'tree'>;
export type WalkHandle = NativeHandle<'walk'>;

/** A name as the addon gives it: a string when it is valid UTF-8. */
export type RawName = string | Buffer;
type Progress = ProgressListener | undefined;

export interface RawListedFile {
  name: RawName;
  type: FileType;
  inode: number;
}
export type RawXattr = { name: RawName; value: Buffer };
export type RawDigest = FileStat &
  Pick<FileDigest, 'contentDigest' | 'stored'> & {
    path: RawName;
    target?: RawName;
    hardLink?: RawName;
    xattrs?: RawXattr[];
  };
export type RawLayerReport = Omit<LayerReport, 'skippedXattrs'> & {
  skippedXattrs: { path: RawName; name: RawName }[];
};

export const native = addon as {
  treeOpen(
    device: DeviceHandle,
    options: { writable: boolean; timeNs?: bigint | undefined } & Pick<EngineRequest, 'isolation'>,
  ): NativeCall<TreeHandle>;
  treeClose(tree: TreeHandle): NativeCall<void>;
  treeFlush(tree: TreeHandle): NativeCall<void>;
  treeStat(tree: TreeHandle, path: Uint8Array, follow: boolean): NativeCall<FileStat>;
  treeList(tree: TreeHandle, path: Uint8Array): NativeCall<RawListedFile[]>;
  treeReadSymlink(tree: TreeHandle, path: Uint8Array): NativeCall<RawName>;
  treeReadFile(tree: TreeHandle, path: Uint8Array, offset: number, length: number): NativeCall<Buffer>;
  treeCopyOut(tree: TreeHandle, path: Uint8Array, hostPath: string, onProgress: Progress): NativeCall<number>;
  treeXattrs(tree: TreeHandle, path: Uint8Array, follow: boolean): NativeCall<RawXattr[]>;
  treeWalk(tree: TreeHandle, path: Uint8Array, digest: boolean): NativeCall<WalkHandle>;
  treeWalkNext(walk: WalkHandle, maxCount: number, onProgress: Progress): NativeCall<RawDigest[]>;
  treeWriteFile(tree: TreeHandle, path: Uint8Array, data: Uint8Array, options: NewFile): NativeCall<void>;
  treeCopyIn(
    tree: TreeHandle,
    hostPath: string,
    path: Uint8Array,
    options: NewFile,
    onProgress: Progress,
  ): NativeCall<void>;
  treeMkdir(
    tree: TreeHandle,
    path: Uint8Array,
    options: AttributeChange & { recursive?: boolean | undefined },
  ): NativeCall<void>;
  treeSymlink(tree: TreeHandle, target: Uint8Array, path: Uint8Array, options: NewFile): NativeCall<void>;
  treeLink(tree: TreeHandle, existing: Uint8Array, path: Uint8Array): NativeCall<void>;
  treeMknod(tree: TreeHandle, path: Uint8Array, options: NewNode): NativeCall<void>;
  treeSetAttributes(
    tree: TreeHandle,
    path: Uint8Array,
    follow: boolean,
    change: AttributeChange,
  ): NativeCall<void>;
  treeSetXattr(
    tree: TreeHandle,
    path: Uint8Array,
    follow: boolean,
    name: Uint8Array,
    value: Uint8Array,
  ): NativeCall<void>;
  treeRemoveXattr(tree: TreeHandle, path: Uint8Array, follow: boolean, name: Uint8Array): NativeCall<void>;
  treeRemove(tree: TreeHandle, path: Uint8Array, recursive: boolean): NativeCall<void>;
  treeRename(tree: TreeHandle, from: Uint8Array, to: Uint8Array): NativeCall<void>;
  treeApplyLayer(
    tree: TreeHandle,
    blobPath: string,
    options: { diffId?: string | undefined },
    onProgress: Progress,
  ): NativeCall<RawLayerReport>;
};

/** The bytes of a path, a name or a link's target; a RangeError for what no file can be called. */
export function nameBytes(name: TreePath, what: string): Uint8Array {
  if (typeof name !== 'string') return name;
  if (!(name as string & { isWellFormed(): boolean }).isWellFormed()) {
    throw new RangeError(`Cannot use ${what}: it has lone surrogates, give its bytes instead`);
  }
  return Buffer.from(name);
}

export function nameText(raw: RawName): string {
  return typeof raw === 'string' ? raw : raw.toString();
}

/** `{ [key]: text }`, and `{ [key + 'Bytes']: bytes }` when the text cannot stand for the name. */
export function named<Key extends string>(
  key: Key,
  raw: RawName,
): { [K in Key]: string } & { [K in `${Key}Bytes`]?: Buffer } {
  const text = { [key]: nameText(raw) };
  return (typeof raw === 'string' ? text : { ...text, [`${key}Bytes`]: raw }) as ReturnType<
    typeof named<Key>
  >;
}

export function toXattr({ name, value }: RawXattr): Xattr {
  return { ...named('name', name), value };
}

export function toFileDigest({ path, target, hardLink, xattrs, ...rest }: RawDigest): FileDigest {
  return {
    ...rest,
    ...named('path', path),
    ...(target === undefined ? {} : named('target', target)),
    ...(hardLink === undefined ? {} : named('hardLink', hardLink)),
    xattrs: (xattrs ?? []).map(toXattr),
  };
}

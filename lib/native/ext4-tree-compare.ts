/** What differs between two trees. */
import type { CallOptions } from './call.js';
import type { Ext4Tree } from './ext4-tree.js';
import type { FileDigest, TreePath, Xattr } from './ext4-tree-types.js';

export type TreeAspect =
  | 'only-in-first'
  | 'only-in-second'
  | 'type'
  | 'mode'
  | 'owner'
  | 'content'
  | 'holes'
  | 'mtime'
  | 'atime'
  | 'ctime'
  | 'device'
  | 'target'
  | 'links'
  | 'xattrs'
  | 'flags'
  | 'project'
  | 'birthtime'
  | 'generation';

export interface TreeDifference {
  path: string;
  /** The path itself, only when it is not valid UTF-8. */
  pathBytes?: Buffer;
  /** Never empty; one of the `only-in-…` stands alone. */
  what: TreeAspect[];
}

export interface CompareOptions extends Pick<CallOptions, 'signal'> {
  /** Where both walks begin; default "/". */
  path?: TreePath | undefined;
  /** Compare times of access, too; default false. */
  atime?: boolean | undefined;
  /** Compare times of change, too; default false. */
  ctime?: boolean | undefined;
  /** Compare times of birth, too; default false. */
  birthtime?: boolean | undefined;
  /** Compare generation numbers, too; default false. */
  generation?: boolean | undefined;
}

/** What gives a tree's files as an open tree does. */
export type DigestSource = Pick<Ext4Tree, 'digest'>;

/** Flags that say how the filesystem keeps a file: index, extents, huge file, inline data. */
const LAYOUT_FLAGS = 0x0000_1000 | 0x0008_0000 | 0x0004_0000 | 0x1000_0000;
const SLASH = '/'.charCodeAt(0);

/**
 * Yields every path whose files differ, in the order of a walk, in bounded memory: both trees are read once, side by
 * side. Content is compared by its digest, hard links by the first path that leads to the same file.
 */
export async function* compareTrees(
  first: DigestSource,
  second: DigestSource,
  options: CompareOptions = {},
): AsyncGenerator<TreeDifference, void, void> {
  const { path = '/', signal } = options;
  const walks = [first.digest(path, { signal }), second.digest(path, { signal })] as const;
  try {
    let [a, b] = await Promise.all([take(walks[0]), take(walks[1])]);
    while (a !== undefined || b !== undefined) {
      const order = a === undefined ? 1 : b === undefined ? -1 : comparePaths(a, b);
      if (order < 0) {
        yield difference(a as FileDigest, ['only-in-first']);
        a = await take(walks[0]);
      } else if (order > 0) {
        yield difference(b as FileDigest, ['only-in-second']);
        b = await take(walks[1]);
      } else {
        const what = aspects(a as FileDigest, b as FileDigest, options);
        if (what.length > 0) yield difference(a as FileDigest, what);
        [a, b] = await Promise.all([take(walks[0]), take(walks[1])]);
      }
    }
  } finally {
    await Promise.all(walks.map((walk) => walk.return()));
  }
}

async function take(walk: AsyncGenerator<FileDigest, void, void>): Promise<FileDigest | undefined> {
  const next = await walk.next();
  return next.done ? undefined : next.value;
}

function difference(file: FileDigest, what: TreeAspect[]): TreeDifference {
  const { path, pathBytes } = file;
  return pathBytes === undefined ? { path, what } : { path, pathBytes, what };
}

/** The order of a walk: by the bytes of one component after the other. */
function comparePaths(a: FileDigest, b: FileDigest): number {
  if (a.path === b.path && a.pathBytes === undefined && b.pathBytes === undefined) return 0;
  return Buffer.compare(walkKey(a), walkKey(b));
}

function walkKey({ path, pathBytes }: FileDigest): Buffer {
  // No name holds a zero, so with zeros between them components compare before what follows them.
  return Buffer.from((pathBytes ?? Buffer.from(path)).map((byte) => (byte === SLASH ? 0 : byte)));
}

function aspects(
  a: FileDigest,
  b: FileDigest,
  { atime = false, ctime = false, birthtime = false, generation = false }: CompareOptions,
): TreeAspect[] {
  if (a.type !== b.type) return ['type'];
  const differs: [TreeAspect, boolean][] = [
    ['mode', a.mode !== b.mode],
    ['owner', a.uid !== b.uid || a.gid !== b.gid],
    ['content', a.contentDigest !== b.contentDigest || (a.type === 'file' && a.size !== b.size)],
    ['holes', !sameJson(a.stored, b.stored)],
    ['mtime', a.mtimeNs !== b.mtimeNs],
    ['atime', atime && a.atimeNs !== b.atimeNs],
    ['ctime', ctime && a.ctimeNs !== b.ctimeNs],
    ['device', !sameJson(a.device, b.device)],
    ['target', !sameName(a.target, a.targetBytes, b.target, b.targetBytes)],
    [
      'links',
      !sameName(a.hardLink, a.hardLinkBytes, b.hardLink, b.hardLinkBytes) || a.linkCount !== b.linkCount,
    ],
    ['xattrs', !sameXattrs(a.xattrs, b.xattrs)],
    ['flags', ((a.flags ^ b.flags) & ~LAYOUT_FLAGS) !== 0],
    ['project', a.project !== b.project],
    ['birthtime', birthtime && a.birthtimeNs !== b.birthtimeNs],
    ['generation', generation && a.generation !== b.generation],
  ];
  return differs.filter(([, differ]) => differ).map(([aspect]) => aspect);
}

function sameJson(a: unknown, b: unknown): boolean {
  return a === b || JSON.stringify(a) === JSON.stringify(b);
}

function sameName(
  a: string | undefined,
  aBytes: Buffer | undefined,
  b: string | undefined,
  bBytes: Buffer | undefined,
) {
  if (aBytes === undefined || bBytes === undefined) return a === b && aBytes === bBytes;
  return aBytes.equals(bBytes);
}

function sameXattrs(a: Xattr[], b: Xattr[]): boolean {
  return (
    a.length === b.length &&
    a.every((xattr, i) => {
      const other = b[i] as Xattr;
      return (
        sameName(xattr.name, xattr.nameBytes, other.name, other.nameBytes) && xattr.value.equals(other.value)
      );
    })
  );
}

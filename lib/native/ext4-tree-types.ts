/** What is known about the files of an image, and what a new one can be given. */

/**
 * A path in an image, from its root, with or without a leading "/". Names on ext4 are bytes: a string stands for its
 * UTF-8 form, and any other name can be given as the bytes themselves. Strings with lone surrogates are refused.
 */
export type TreePath = string | Uint8Array;

export type FileType =
  | 'file'
  | 'directory'
  | 'symlink'
  | 'character-device'
  | 'block-device'
  | 'fifo'
  | 'socket';

export interface DeviceNumber {
  major: number;
  minor: number;
}

/** Times are nanoseconds since 1970; ext4 holds 1901 to 2446. */
export interface FileStat {
  type: FileType;
  /** The low twelve bits of the mode: setuid, setgid, sticky, rwxrwxrwx. */
  mode: number;
  uid: number;
  gid: number;
  /** In bytes. */
  size: number;
  /** The bytes that its blocks take, those of attributes and extents included. */
  allocated: number;
  linkCount: number;
  inode: number;
  generation: number;
  /** As chattr sets them, and as the filesystem uses them for itself. */
  flags: number;
  /** The project that quotas count it for; 0 where the inode has no room for one. */
  project: number;
  /** Of a character or block device. */
  device?: DeviceNumber;
  atimeNs: bigint;
  mtimeNs: bigint;
  ctimeNs: bigint;
  birthtimeNs: bigint;
}

export interface ListedFile {
  /** With U+FFFD where the name is not valid UTF-8. */
  name: string;
  /** The name itself, only when it is not valid UTF-8. */
  nameBytes?: Buffer;
  type: FileType;
  inode: number;
}

/** An extended attribute; its value has the form that Linux gives, also for POSIX ACLs. */
export interface Xattr {
  /** With its namespace: `user.…`, `trusted.…`, `security.…`, `system.posix_acl_access`, `system.posix_acl_default`. */
  name: string;
  /** The name itself, only when it is not valid UTF-8. */
  nameBytes?: Buffer;
  value: Buffer;
}

/** What a symbolic link says. */
export interface LinkTarget {
  target: string;
  /** The target itself, only when it is not valid UTF-8. */
  targetBytes?: Buffer;
}

/** One file of a walk. */
export interface WalkedFile extends FileStat {
  /** With a leading "/", and U+FFFD where it is not valid UTF-8. */
  path: string;
  /** The path itself, only when it is not valid UTF-8. */
  pathBytes?: Buffer;
  /** Of a symbolic link. */
  target?: string;
  targetBytes?: Buffer;
  /** The first path of this walk that leads to the same file; absent for that one itself. */
  hardLink?: string;
  hardLinkBytes?: Buffer;
}

/** A range of a file, in bytes. */
export interface StoredRange {
  offset: number;
  length: number;
}

/** One file of a walk, with all that two trees can differ in. */
export interface FileDigest extends WalkedFile {
  xattrs: Xattr[];
  /**
   * Of a regular file's content, in hexadecimal: what fs-verity has for it with SHA-256, blocks of 4096 bytes and no salt, as
   * `fsverity digest` prints it. Holes are zeros, of which terabytes take no time.
   */
  contentDigest?: string;
  /** Where a regular file has blocks, in ascending order; the rest are holes. */
  stored?: StoredRange[];
}

export interface AttributeChange {
  /** The low twelve bits. */
  mode?: number | undefined;
  uid?: number | undefined;
  gid?: number | undefined;
  atimeNs?: bigint | undefined;
  mtimeNs?: bigint | undefined;
}

/** What is not given is root's, 0644, and now. */
export interface NewFile extends AttributeChange {
  /**
   * Put a new file in the place of whatever is there, unless it is a directory. Without it, the file that the path leads
   * to, links followed, gets new content and keeps what is not given; a symbolic link is made only where nothing is.
   */
  replace?: boolean | undefined;
}

export interface NewNode extends AttributeChange {
  type: 'character-device' | 'block-device' | 'fifo' | 'socket';
  /** Of a device: at most 4095. */
  major?: number | undefined;
  /** Of a device: at most 1048575. */
  minor?: number | undefined;
}

/** What applying a layer did. */
export interface LayerReport {
  /** `sha256:…` of the layer's archive after decompression. */
  diffId: string;
  blobBytes: number;
  archiveBytes: number;
  entryCount: number;
  whiteoutCount: number;
  /** The first 100 attributes that Linux' ext4 cannot hold, such as `com.apple.…`; `path` is that of the archive. */
  skippedXattrs: { path: string; pathBytes?: Buffer; name: string; nameBytes?: Buffer }[];
}

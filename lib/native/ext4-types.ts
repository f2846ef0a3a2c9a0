/** What ext4 on a device is asked for, and what it tells. */

export interface TimeRequest {
  /** In whole seconds since 1970, wherever a time is written or compared; default: now. Equal inputs give equal bytes. */
  time?: number | undefined;
}

export interface MkfsRequest extends TimeRequest {
  /** The filesystem's UUID, as text. */
  uuid: string;
  /** The seed of the directory hashes, as UUID text. */
  hashSeed: string;
  /** At most 16 bytes of UTF-8. */
  label?: string | undefined;
  /** In bytes; default: the device's. Rounded down to whole blocks. */
  size?: number | undefined;
}

export interface ResizeRequest {
  /** In bytes, rounded down to whole blocks; the device must already have them. `minimum`: as small as `minimumSize` says. */
  size: number | 'minimum';
  /**
   * In whole seconds since 1970, wherever a time is written; default: the last one in the superblock, so that equal filesystems give
   * equal bytes.
   */
  time?: number | undefined;
}

/** What an operation read from its device and wrote to it. */
export interface IoReport {
  reads: number;
  readBytes: number;
  /** Distinct blocks of 4 KiB, and distinct chunks of 64 KiB. */
  blocksRead: number;
  chunksRead: number;
  writes: number;
  /** Without what was zeroed. */
  writtenBytes: number;
  blocksWritten: number;
  chunksWritten: number;
  zeroedBytes: number;
  /** How often the device was told what is about to be read, for it to be fetched at once. */
  prefetches: number;
}

export interface ResizeReport {
  /** Sizes of the filesystem in bytes. */
  oldSize: number;
  /** Less than asked for, by less than a block group, when the last group would not hold its own metadata. */
  newSize: number;
  /** True when e2fsck has looked at the result: after a shrink, and where metadata had to move. */
  checked: boolean;
  /**
   * True when it put right what follows from the files: bitmaps, counts, quota. resize2fs is known to leave such things wrong with
   * sparse_super2, and where they were wrong before.
   */
  corrected: boolean;
  /** Of opening and resizing, without rehearsals. */
  io: IoReport;
  /** Of the check of the result. */
  checkIo: IoReport;
  /** The filesystem as it is then. */
  after: Ext4Stats;
}

export interface FreeSpaceRequest {
  /** What is to be available to a user without privileges, in bytes. */
  free: number;
  /** The filesystem may not be smaller, in bytes, unless it cannot be so large. */
  smallest: number;
  /** It may not be larger, in bytes. */
  largest: number;
}

export interface FsckOptions extends TimeRequest {
  /** Answers yes to every question, and so writes; default false. */
  repair?: boolean | undefined;
}

/** One problem that e2fsck found. */
export interface FsckProblem {
  /** e2fsck's own number, in hexadecimal: `0x010005`. */
  code: string;
  message: string;
  fixed: boolean;
}

export interface FsckReport {
  /** As e2fsck's exit code: 1 errors corrected, 4 errors left, 8 operational error (not an ext4 filesystem at all). */
  exitBits: number;
  /** True when nothing was found: no bit is set. */
  clean: boolean;
  /** In the order of finding; the first 10,000. */
  problems: FsckProblem[];
  problemCount: number;
  /** What e2fsck would have printed. */
  output: string;
  io: IoReport;
}

export interface ReplayReport {
  /** True when there was something to replay or to release, and it is done. */
  replayed: boolean;
  /** What was put right besides. */
  problems: FsckProblem[];
  io: IoReport;
}

export interface Ext4Stats {
  sizeBytes: number;
  blockSize: number;
  /** Free blocks without those kept for root. */
  freeBytes: number;
  /** What of them a mounted filesystem lets a user write, for the kernel keeps some back: `df` in the guest calls it available. */
  availableBytes: number;
  /** Kept for root. */
  reservedBytes: number;
  /** Everything that is not free: content, inode tables, journal. */
  usedBytes: number;
  /** Up to here it grows without moving metadata. */
  maxGrownBytes: number;
  inodeCount: number;
  freeInodeCount: number;
  uuid: string;
  label: string;
  features: string[];
  /** The journal holds changes that are not in the filesystem yet. */
  needsRecovery: boolean;
  /** Marked as broken by the kernel or by a checker. */
  hasErrors: boolean;
  /** Deleted files whose space is not given back yet. */
  hasOrphans: boolean;
  /** None of these, every checksum of superblock and group descriptors right, and the free counts consistent. */
  clean: boolean;
  /** Why `clean` is false; empty when it is true. */
  notCleanReason: string;
  /** In seconds since 1970; 0: never. */
  createdTime: number;
  mountedTime: number;
  writtenTime: number;
  checkedTime: number;
}

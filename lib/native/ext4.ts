/**
 * ext4 on a device, inside this process: making, resizing, checking, and what it says of itself.
 *
 * Nothing here starts a process, prints, or needs a mount or root. Calls that write (mkfs, resize, a repair, a replay)
 * do not flush the device: their writes are in it, and `device.flush()` makes them durable. A call that fails or is
 * aborted half-way leaves the filesystem in pieces: run it on an overlay, and throw that away.
 */
import { randomUUID } from 'node:crypto';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { addon, type DeviceHandle, type NativeCall, type ProgressListener } from './addon.js';
import type { CallOptions } from './call.js';
import type { Device } from './device.js';

interface TimeRequest {
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

export interface ResizeRequest extends TimeRequest {
  /** In bytes, rounded down to whole blocks. The device must already have them. */
  size: number;
}

export interface ResizeReport {
  /** Sizes of the filesystem in bytes. */
  oldSize: number;
  /** Less than asked for, by less than a block group, when the last group would not hold its own metadata. */
  newSize: number;
  /** True when e2fsck has looked at the result: after a shrink, and where metadata had to move. */
  checked: boolean;
  /** What the resize itself read and wrote; blocks are distinct blocks of the device. */
  reads: number;
  readBytes: number;
  blocksRead: number;
  writes: number;
  writtenBytes: number;
  blocksWritten: number;
  zeroedBytes: number;
}

/** What a resize may need besides the device. */
export interface ScratchOptions extends CallOptions {
  /** Where the rehearsal of a tight shrink keeps changed blocks, in a file without a name. Default: `os.tmpdir()`. */
  scratchFolder?: string | undefined;
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
}

export interface ReplayReport {
  /** True when there was something to replay or to release, and it is done. */
  replayed: boolean;
  /** What was put right besides. */
  problems: FsckProblem[];
}

export interface Ext4Stats {
  sizeBytes: number;
  blockSize: number;
  /** What a user without privileges can still write. */
  freeBytes: number;
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

type RawProblem = Omit<FsckProblem, 'code'> & { code: number };
type WithRawProblems<Report> = Omit<Report, 'problems'> & { problems: RawProblem[] };
type NativeFunction<Request, Value> = (
  device: DeviceHandle,
  request: Request,
  onProgress: ProgressListener | undefined,
) => NativeCall<Value>;

const native = addon as {
  ext4EngineVersion: string;
  ext4Mkfs: NativeFunction<MkfsRequest, number>;
  ext4Resize: NativeFunction<ResizeRequest & { scratchPath: string }, ResizeReport>;
  ext4MinimumSize: NativeFunction<{ scratchPath: string }, number>;
  ext4Fsck: NativeFunction<FsckOptions, WithRawProblems<FsckReport>>;
  ext4ReplayJournal: NativeFunction<TimeRequest, WithRawProblems<ReplayReport>>;
  ext4Stats: NativeFunction<undefined, Ext4Stats>;
};

function toProblem({ code, message, fixed }: RawProblem): FsckProblem {
  return { code: `0x${code.toString(16).padStart(6, '0')}`, message, fixed };
}

function scratchPath({ scratchFolder = tmpdir() }: ScratchOptions): string {
  return path.join(scratchFolder, `rootloom-scratch-${randomUUID()}`);
}

function mkfs(device: Device, request: MkfsRequest, options: CallOptions = {}): Promise<number> {
  return device.owned.run((handle) => native.ext4Mkfs(handle, request, options.onProgress), options);
}

function resize(device: Device, request: ResizeRequest, options: ScratchOptions = {}): Promise<ResizeReport> {
  const full = { ...request, scratchPath: scratchPath(options) };
  return device.owned.run((handle) => native.ext4Resize(handle, full, options.onProgress), options);
}

function minimumSize(device: Device, options: ScratchOptions = {}): Promise<number> {
  const request = { scratchPath: scratchPath(options) };
  return device.owned.run((handle) => native.ext4MinimumSize(handle, request, options.onProgress), options);
}

async function fsck(
  device: Device,
  request: FsckOptions = {},
  options: CallOptions = {},
): Promise<FsckReport> {
  const report = await device.owned.run(
    (handle) => native.ext4Fsck(handle, request, options.onProgress),
    options,
  );
  return { ...report, problems: report.problems.map(toProblem) };
}

async function replayJournal(
  device: Device,
  { time, ...options }: CallOptions & TimeRequest = {},
): Promise<ReplayReport> {
  const report = await device.owned.run(
    (handle) => native.ext4ReplayJournal(handle, { time }, options.onProgress),
    options,
  );
  return { ...report, problems: report.problems.map(toProblem) };
}

function stats(device: Device, options: CallOptions = {}): Promise<Ext4Stats> {
  return device.owned.run((handle) => native.ext4Stats(handle, undefined, options.onProgress), options);
}

export const ext4 = {
  /** The version of e2fsprogs that does the work. */
  engineVersion: native.ext4EngineVersion,

  /**
   * Makes an empty filesystem by the one profile of rootloom, in place of whatever the device holds. Resolves with its
   * size in bytes. Rejects with TOO_SMALL below 16 MiB.
   */
  mkfs,

  /**
   * Grows or shrinks the filesystem to `size`. The device keeps its own size.
   *
   * Rejects before anything is written: UNSUPPORTED when the journal must be replayed first, the filesystem cannot be
   * resized so, or it is or would be larger than 16 TiB; CORRUPT when it is not clean; TOO_SMALL with the `minimum` that
   * works when its content does not fit.
   */
  resize,

  /** The smallest size in bytes to which a shrink works: it has been rehearsed. */
  minimumSize,

  /**
   * Runs all passes of e2fsck, as `e2fsck -fn` or, with `repair`, `e2fsck -fy`. A broken filesystem is a report, not an
   * error. One check runs at a time in a process; others wait.
   */
  fsck,

  /**
   * Replays the journal and releases orphaned inodes, as the kernel would on the next mount; does nothing to a clean
   * filesystem. Rejects with CORRUPT when the journal is broken.
   */
  replayJournal,

  /** Sizes, free space and state, from the superblock and the group descriptors alone. */
  stats,
};

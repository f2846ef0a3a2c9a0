/**
 * ext4 on a device: making, resizing, checking, and what it says of itself.
 *
 * Nothing here prints, or needs a mount or root. The engine works on what is on the device in a helper process, unless
 * `isolation: 'none'` says otherwise (see `Isolation`); mkfs, which reads nothing, always in this one. Calls that write (mkfs,
 * resize, a repair, a replay) do not flush the device: their writes are in it, and `device.flush()` makes them durable. A call
 * without isolation that fails or is aborted half-way leaves the filesystem in pieces, and so does an isolated one whose
 * changes do not get to the device whole: run it on an overlay, and throw that away.
 *
 * An abort is answered within some 50 ms, also when the device is stuck: what is left of the call then belongs to the
 * device, whose `close` waits for it.
 */
import { addon, type DeviceHandle, type NativeCall, type ProgressListener } from './addon.js';
import type { CallOptions } from './call.js';
import type { Device } from './device.js';
import type {
  Ext4Stats,
  FreeSpaceRequest,
  FsckOptions,
  FsckProblem,
  FsckReport,
  MkfsRequest,
  ReplayReport,
  ResizeReport,
  ResizeRequest,
  TimeRequest,
} from './ext4-types.js';
import { type EngineOptions, type EngineRequest, engineRequest } from './isolation.js';

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
  ext4Resize: NativeFunction<TimeRequest & EngineRequest & { size: number | undefined }, ResizeReport>;
  ext4SizeForFree: NativeFunction<FreeSpaceRequest & EngineRequest, number>;
  ext4MinimumSize: NativeFunction<EngineRequest, number>;
  ext4Fsck: NativeFunction<FsckOptions & EngineRequest, WithRawProblems<FsckReport>>;
  ext4ReplayJournal: NativeFunction<TimeRequest & EngineRequest, WithRawProblems<ReplayReport>>;
  ext4Stats: NativeFunction<EngineRequest, Ext4Stats>;
};

function toProblem({ code, message, fixed }: RawProblem): FsckProblem {
  return { code: `0x${code.toString(16).padStart(6, '0')}`, message, fixed };
}

function mkfs(device: Device, request: MkfsRequest, options: CallOptions = {}): Promise<number> {
  return device.owned.runLong((handle) => native.ext4Mkfs(handle, request, options.onProgress), options);
}

async function resize(
  device: Device,
  request: ResizeRequest,
  options: EngineOptions = {},
): Promise<ResizeReport> {
  const size = request.size === 'minimum' ? undefined : request.size;
  const full = { ...request, size, ...engineRequest(options) };
  return device.owned.runLong((handle) => native.ext4Resize(handle, full, options.onProgress), options);
}

async function minimumSize(device: Device, options: EngineOptions = {}): Promise<number> {
  const request = engineRequest(options);
  return device.owned.runLong(
    (handle) => native.ext4MinimumSize(handle, request, options.onProgress),
    options,
  );
}

async function sizeForFree(
  device: Device,
  request: FreeSpaceRequest,
  options: EngineOptions = {},
): Promise<number> {
  const full = { ...request, ...engineRequest(options) };
  return device.owned.runLong((handle) => native.ext4SizeForFree(handle, full, options.onProgress), options);
}

async function fsck(
  device: Device,
  request: FsckOptions = {},
  options: EngineOptions = {},
): Promise<FsckReport> {
  const full = { ...request, ...engineRequest(options) };
  const report = await device.owned.runLong(
    (handle) => native.ext4Fsck(handle, full, options.onProgress),
    options,
  );
  return { ...report, problems: report.problems.map(toProblem) };
}

async function replayJournal(
  device: Device,
  { time, ...options }: EngineOptions & TimeRequest = {},
): Promise<ReplayReport> {
  const request = { time, ...engineRequest(options) };
  const report = await device.owned.runLong(
    (handle) => native.ext4ReplayJournal(handle, request, options.onProgress),
    options,
  );
  return { ...report, problems: report.problems.map(toProblem) };
}

async function stats(device: Device, options: EngineOptions = {}): Promise<Ext4Stats> {
  const request = engineRequest(options);
  return device.owned.runLong((handle) => native.ext4Stats(handle, request, options.onProgress), options);
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
   * The smallest size in bytes, a multiple of 4096, at which so much is free: computed from what the groups and the content
   * take, without trying. It may be less than the content allows, or than the filesystem has now. Rejects with NO_SPACE when not
   * even `largest` has it, and as `resize` does.
   */
  sizeForFree,

  /**
   * Runs all passes of e2fsck, as `e2fsck -fn` or, with `repair`, `e2fsck -fy`. A broken filesystem is a report, not an
   * error. One check runs at a time in a process; others wait, unless they have processes of their own.
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

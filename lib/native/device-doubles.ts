/** Devices that watch and that fail: to prove what an algorithm touches, and what it does when a disk goes wrong. */
import { addon, type DeviceHandle, type NativeCall } from './addon.js';
import { callNative } from './call.js';
import { Device } from './device.js';

export type OperationKind = 'read' | 'write' | 'zero' | 'trim' | 'flush' | 'extents' | 'prefetch';

/** What was asked for with one kind of operation. */
export interface OperationCount {
  calls: number;
  /** Of these calls. */
  failures: number;
  /** In all, also by calls that failed. */
  bytes: number;
  /** Touched at least once. */
  distinctBlocks: number;
}

export interface LoggedOperation {
  operation: OperationKind;
  offset: number;
  length: number;
  durable: boolean;
  /** 0 for success. */
  errno: number;
}

export interface TakenLog {
  /** Oldest first. */
  operations: LoggedOperation[];
  /** How many older ones the log had no room for. */
  missed: number;
}

/** One line of a faulty device's plan. Of the operations that fit, the first `skip` pass and the next `count` are hit. */
export interface Fault {
  /** Default: any. */
  operation?: OperationKind | undefined;
  /** In bytes: operations that touch the range, and every flush; default: the whole device. */
  offset?: number | undefined;
  length?: number | undefined;
  /** Default 0. */
  skip?: number | undefined;
  /** Default: all that follow. */
  count?: number | undefined;
  /** The system's error number to fail with, as in `os.constants.errno`; default: do not fail, only wait. */
  errno?: number | undefined;
  /** Before anything else happens; default 0. */
  delayMs?: number | undefined;
}

const native = addon as {
  createLoggingDevice(inner: DeviceHandle, logCapacity: number): DeviceHandle;
  loggingCounts(handle: DeviceHandle): Record<OperationKind, OperationCount>;
  loggingLog(handle: DeviceHandle): LoggedOperation[];
  loggingTake(handle: DeviceHandle): TakenLog;
  loggingReset(handle: DeviceHandle): void;
  createFaultyDevice(inner: DeviceHandle, volatileCache: boolean): DeviceHandle;
  faultyArm(handle: DeviceHandle, fault: Fault): void;
  faultyDisarm(handle: DeviceHandle): void;
  faultyHitCount(handle: DeviceHandle): number;
  faultyCrash(handle: DeviceHandle): NativeCall<void>;
};

/** Passes everything on, and counts it. */
export class LoggingDevice extends Device {
  counts(): Record<OperationKind, OperationCount> {
    return callNative(() => native.loggingCounts(this.owned.value));
  }

  /** The last operations, oldest first. */
  log(): LoggedOperation[] {
    return callNative(() => native.loggingLog(this.owned.value));
  }

  /** The operations since the log was taken before, and empties it: to follow what happens. */
  takeLog(): TakenLog {
    return callNative(() => native.loggingTake(this.owned.value));
  }

  /** Forgets counts and log. */
  reset(): void {
    callNative(() => native.loggingReset(this.owned.value));
  }
}

/** Passes everything on, except what its plan says. */
export class FaultyDevice extends Device {
  /** Adds to the plan; the first fault that fits an operation decides. */
  arm(fault: Fault): void {
    callNative(() => native.faultyArm(this.owned.value, fault));
  }

  /** Forgets the plan. */
  disarm(): void {
    callNative(() => native.faultyDisarm(this.owned.value));
  }

  /** How many operations were hit so far. */
  hitCount(): number {
    return callNative(() => native.faultyHitCount(this.owned.value));
  }

  /**
   * The power goes: with `volatileCache` what was not flushed vanishes from the inner device. Every later operation of
   * this one rejects with IO.
   */
  async crash(): Promise<void> {
    await this.owned.run((handle) => native.faultyCrash(handle));
  }
}

/** Counts what is asked of `inner`, and keeps the last `logCapacity` operations (default none). */
export function createLoggingDevice(
  inner: Device,
  { logCapacity = 0 }: { logCapacity?: number | undefined } = {},
): LoggingDevice {
  return new LoggingDevice(callNative(() => native.createLoggingDevice(inner.owned.value, logCapacity)));
}

/**
 * A device over `inner` that can be made to fail. With `volatileCache` (default false) a crash loses what was written
 * since the last flush; nobody else may change `inner` meanwhile.
 */
export function createFaultyDevice(
  inner: Device,
  { volatileCache = false, faults = [] }: { volatileCache?: boolean | undefined; faults?: Fault[] } = {},
): FaultyDevice {
  const device = new FaultyDevice(
    callNative(() => native.createFaultyDevice(inner.owned.value, volatileCache)),
  );
  for (const fault of faults) device.arm(fault);
  return device;
}

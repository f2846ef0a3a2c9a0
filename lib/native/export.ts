/** Exports: a device offered over the NBD protocol on a unix socket. */
import path from 'node:path';
import { addon, type DeviceHandle, type NativeCall, type NativeHandle } from './addon.js';
import { type CallOptions, callNative, runNative } from './call.js';
import type { Device } from './device.js';
import { OwnedHandle } from './handle.js';

type ExportHandle = NativeHandle<'export'>;

interface RawServeOptions {
  socketPath: string;
  exportName: string;
  readOnly: boolean;
  maxConnections: number;
}

const native = addon as {
  serve(device: DeviceHandle, options: RawServeOptions): NativeCall<ExportHandle>;
  exportStats(handle: ExportHandle): ExportStats;
  closeExport(handle: ExportHandle, flush: boolean): NativeCall<ExportStats>;
};

/** Linux allows 107 bytes, of which the server needs some for itself. */
export const MAX_SOCKET_PATH_BYTES = 100;

/** What an export has done since its start. Requests that failed are counted as errors only. */
export interface ExportStats {
  /** Clients connected now. */
  connectionCount: number;
  readCount: number;
  readBytes: number;
  writeCount: number;
  writeBytes: number;
  zeroCount: number;
  trimCount: number;
  flushCount: number;
  errorCount: number;
}

/** The logger gets the begin of the export, and at its end what it did. */
export interface ServeOptions extends Pick<CallOptions, 'signal' | 'logger'> {
  /** Where to listen: a path of at most 100 bytes. The file is for its owner only (mode 0600). */
  socketPath: string;
  /** What clients may ask for; the empty name, which is the default, always works. */
  exportName?: string | undefined;
  /** Refuses changes. A device that is not writable is served so in any case. */
  readOnly?: boolean | undefined;
  /** Clients beyond it wait until another has gone; default 64. */
  maxConnections?: number | undefined;
}

/**
 * A device on offer. Clients are served by native threads: no JavaScript runs for a request, and the export does not keep
 * the process alive. One that nobody closed is closed, with a flush, when the process or its worker thread ends.
 */
export class Export implements AsyncDisposable {
  /** Absolute. */
  readonly socketPath: string;
  /** For NBD clients: `nbd+unix:///name?socket=…`. */
  readonly uri: string;
  readonly #owned: OwnedHandle<ExportHandle>;
  #finalStats: ExportStats | undefined;
  #flushes = true;

  /** For `serve` only. */
  constructor(handle: ExportHandle, socketPath: string, exportName: string, logger: CallOptions['logger']) {
    this.socketPath = socketPath;
    const socket = encodeURIComponent(socketPath).replaceAll('%2F', '/');
    this.uri = `nbd+unix:///${encodeURIComponent(exportName)}?socket=${socket}`;
    this.#owned = new OwnedHandle(handle, 'export', async (open) => {
      this.#finalStats = callNative(() => native.exportStats(open));
      this.#finalStats = await runNative(() => native.closeExport(open, this.#flushes));
      logger?.debug({ socketPath, ...this.#finalStats }, 'the export has ended');
    });
  }

  /** Clients connected now. */
  get connectionCount(): number {
    return this.stats().connectionCount;
  }

  /** The numbers so far; after `close` the final ones. */
  stats(): ExportStats {
    return { ...(this.#finalStats ?? callNative(() => native.exportStats(this.#owned.value))) };
  }

  /**
   * Stops accepting, hangs up on every client, waits for the operations under way, flushes the device, and removes the
   * socket file. Rejects with the error of the flush: then some of what clients wrote may be lost. The device stays open.
   */
  close(): Promise<void> {
    return this.#owned.close();
  }

  /** The same without the flush, for a device that is about to be thrown away. The first of the two calls decides. */
  discard(): Promise<void> {
    if (!this.#owned.closed) this.#flushes = false;
    return this.#owned.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/**
 * Offers a device over NBD. The export keeps what it needs of the device, which may be closed first. A client sees the size
 * that the device has when it connects; after a resize it learns the new one by connecting anew.
 *
 * Rejects with BUSY when a server listens on the socket already (a socket file that a dead one left is replaced), with
 * INVALID_ARGUMENT when the path is too long or names something that is not a socket, with NOT_FOUND when its folder is
 * missing.
 */
export async function serve(device: Device, options: ServeOptions): Promise<Export> {
  const { exportName = '', readOnly = false, maxConnections = 64 } = options;
  const socketPath = path.resolve(options.socketPath);
  const raw = { socketPath, exportName, readOnly, maxConnections };
  const handle = await device.owned.run((open) => native.serve(open, raw), options);
  options.logger?.debug({ socketPath, exportName, device: device.name }, 'serving a device');
  return new Export(handle, socketPath, exportName, options.logger);
}

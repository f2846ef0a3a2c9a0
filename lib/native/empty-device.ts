/** A device to write to, of any size, that goes away with all that was written. */

import { randomUUID } from 'node:crypto';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createZeroDevice, type SignalOptions } from './device.js';
import { createOverlay, type OverlayDevice } from './overlay.js';

export interface EmptyDeviceOptions extends SignalOptions {
  /** An existing folder for what is written; default: the system's temporary folder. Nothing stays in it. */
  folder?: string | undefined;
  /** In bytes: a power of two from 512 to 64 MiB; default 4096. */
  blockSize?: number | undefined;
}

/**
 * Makes a writable device of `size` bytes of zeros: an overlay over nothing. What is written lies in a file without a
 * name, whose space comes back when the device is closed or the process ends, however it does.
 */
export async function emptyDevice(size: number, options: EmptyDeviceOptions = {}): Promise<OverlayDevice> {
  const { folder = tmpdir(), blockSize } = options;
  await using zeros = createZeroDevice({ size, blockSize });
  const upperPath = path.join(folder, `rootloom-${randomUUID()}.upper`);
  return await createOverlay(zeros, { upperPath, blockSize, signal: options.signal });
}

/** A filesystem in memory that is the same each time. */
import { createMemoryDevice, type Device } from '../../lib/native/device.js';
import { ext4 } from '../../lib/native/ext4.js';

const MIB = 2 ** 20;

/** What makes equal filesystems equal to the byte. */
export const IDENTITY = {
  uuid: '0f8fad5b-d9cb-469f-a165-70867728950e',
  hashSeed: '7c9e6679-7425-40de-944b-e07fc1f90ae7',
  time: 1_700_000_000,
};

/** An empty one of 32 MiB, on a device of `deviceBytes`; the caller closes that. */
export async function makeFilesystem(deviceBytes = 32 * MIB): Promise<Device> {
  const device = createMemoryDevice({ size: deviceBytes });
  await ext4.mkfs(device, { ...IDENTITY, size: 32 * MIB });
  return device;
}

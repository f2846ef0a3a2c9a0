/** What of this machine's NBD devices is in use. */
import { expect } from 'vitest';
import { nbdDevices } from '../../lib/native/nbd-pool.js';
import { readMountTable } from '../../lib/util/mount-table.js';

/** Waits until no device is connected and none is mounted: the last user of a device may need a moment to go. */
export async function expectNothingAttached(): Promise<void> {
  const state = async () => ({
    devices: (await nbdDevices()).filter(({ use, connected }) => use !== 'free' || connected),
    mounts: (await readMountTable()).filter(({ source }) => source.startsWith('/dev/nbd')),
  });
  await expect.poll(state, { timeout: 20_000 }).toEqual({ devices: [], mounts: [] });
}

/** Whether something is mounted on a folder. */
export async function isMounted(folder: string): Promise<boolean> {
  return (await readMountTable()).some((entry) => entry.path === folder);
}

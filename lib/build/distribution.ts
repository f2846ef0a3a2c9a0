/** Refuses an image whose distribution cannot be provisioned, before a machine is booted to find out. */
import { isRootloomError } from '../errors.js';
import type { Ext4Tree } from '../native/ext4-tree.js';
import { detectDistribution } from '../rootfs/provisioning/distribution.js';
import type { PhaseContext } from './phase.js';

/** Where the script in the guest looks, too, and in this order. */
const PLACES = ['/etc/os-release', '/usr/lib/os-release'];

const MAX_BYTES = 64 * 1024;

async function readOsRelease(tree: Ext4Tree, signal: AbortSignal): Promise<string | undefined> {
  for (const place of PLACES) {
    try {
      return (await tree.readFile(place, { length: MAX_BYTES, signal })).toString();
    } catch (error) {
      if (!isRootloomError(error, 'NOT_FOUND') && !isRootloomError(error, 'INVALID_ARGUMENT')) throw error;
    }
  }
  return undefined;
}

/** Rejects with UNSUPPORTED_DISTRIBUTION, naming it, or with IO, CORRUPT or the signal's reason. */
export async function requireKnownDistribution(tree: Ext4Tree, context: PhaseContext): Promise<void> {
  const { warning } = detectDistribution(await readOsRelease(tree, context.signal));
  if (warning !== undefined) context.log(`warning: ${warning}`);
}

/** Clears up after processes that were killed while their devices were attached. */
import type { CallOptions } from '../native/call.js';
import { nbdDevices, reclaimNbdDevices } from '../native/nbd-pool.js';
import { type Unmounted, unmountByForce } from './unmount.js';

export interface ReclaimReport {
  /** What was mounted from dead devices. */
  unmounted: Unmounted[];
  /** The devices that are free again: `/dev/nbd3`. */
  reclaimed: string[];
  /** Those that are free when their last user has gone, as it is after a lazy unmount. */
  inUse: string[];
}

/**
 * Unmounts what is mounted from devices whose attachments died with their process, and frees those devices. Only what is provably
 * an attachment of ours, and of a process that has gone, is touched. A mount that is in use is unmounted lazily, for its device
 * is dead in any case; the device is free when the last user has gone.
 *
 * Rejects as `nbdDevices` does; TOOL_MISSING; IO when something cannot be unmounted.
 */
export async function reclaimDevices({ signal, logger }: CallOptions = {}): Promise<ReclaimReport> {
  const left = (await nbdDevices({ signal })).filter(({ use }) => use === 'left');
  const unmounted: Unmounted[] = [];
  for (const { path } of left) {
    signal?.throwIfAborted();
    unmounted.push(...(await unmountByForce(path)));
  }
  await reclaimNbdDevices({ signal });
  // The kernel has let go of some of them already, when their last user went.
  const still = new Set(
    (await nbdDevices({ signal })).filter(({ use }) => use === 'left').map(({ path }) => path),
  );
  const paths = left.map(({ path }) => path);
  const report = {
    unmounted,
    reclaimed: paths.filter((path) => !still.has(path)),
    inUse: paths.filter((path) => still.has(path)),
  };
  logger?.info(report, 'cleared up after dead attachments');
  return report;
}

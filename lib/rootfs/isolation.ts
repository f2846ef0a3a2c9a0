/**
 * Which disks are provably this library's own, so that its engine may work on them in this process.
 *
 * A build's disk is that when it is pristine (no guest ever had it, nor had those that it was made from: whoever writes blocks can
 * make a filesystem that does harm) and when its header is the one that was recorded as it was sealed, clean.
 */
import type { Build } from '../artifact/build.js';
import type { Isolation } from '../native/isolation.js';
import { digestBytes } from '../util/digest.js';

/** True for what is recorded of a disk that only this library has written. */
export function isPristine(build: Build): boolean {
  return build.metadata.rootloom?.disk.pristine === true;
}

/** Where the engine is to work on a build's disk: as the caller wants it, else where it is safe. Rejects as `Build.readHeader` does. */
export async function isolationOf(build: Build, wanted: Isolation | undefined): Promise<Isolation> {
  if (wanted !== undefined) return wanted;
  const sealed = build.metadata.rootloom?.disk.clean?.headerSha256;
  if (!isPristine(build) || sealed === undefined) return 'process';
  return digestBytes(await build.readHeader('rootfs')) === sealed ? 'none' : 'process';
}

/** Makes sure that a disk may be resized: its journal replayed, its filesystem known or found to be without problems. */
import type { Build } from '../artifact/build.js';
import { RootloomError } from '../errors.js';
import type { Device } from '../native/device.js';
import { ext4 } from '../native/ext4.js';
import type { EngineOptions } from '../native/isolation.js';
import { hasProvenance } from './provenance.js';

/** See `CheckPolicy`. */
export const CHECK_POLICIES = ['always', 'auto', 'never'] as const;

/**
 * Whether a source disk is checked before it is resized: `auto` checks what this library did not seal clean itself,
 * and lets go unchecked what it did and can prove.
 */
export type CheckPolicy = (typeof CHECK_POLICIES)[number];

export interface SoundnessReport {
  /** True when the journal held something, or deleted files had to be released. */
  replayed: boolean;
  /** True when e2fsck looked at the whole filesystem. */
  checked: boolean;
}

/** How many of e2fsck's messages an error carries. */
const MESSAGES_KEPT = 30;

async function throwIfBroken(disk: Device, build: Build, options: EngineOptions): Promise<void> {
  const { clean, problems, problemCount } = await ext4.fsck(disk, {}, options);
  if (clean) return;
  throw new RootloomError(
    'CORRUPT',
    `Cannot resize the disk of ${build.id}: its filesystem has ${problemCount} problems, none are allowed`,
    { buildId: build.id, logTail: problems.slice(0, MESSAGES_KEPT).map(({ message }) => message) },
  );
}

/**
 * `disk` is a writable overlay over the disk of `build`; the journal is replayed there. Rejects with CORRUPT for a broken
 * filesystem, IO, or the signal's reason.
 */
export async function makeSound(
  disk: Device,
  build: Build,
  check: CheckPolicy,
  options: EngineOptions = {},
): Promise<SoundnessReport> {
  const header = await build.readHeader('rootfs');
  const isProven = await hasProvenance(disk, header, build.metadata.rootloom?.disk.clean, options);
  const { replayed } = isProven ? { replayed: false } : await ext4.replayJournal(disk, options);
  const checked = check === 'always' || (check === 'auto' && !isProven);
  if (checked) await throwIfBroken(disk, build, options);
  return { replayed, checked };
}

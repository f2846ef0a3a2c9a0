/** Holds a disk in the foreground until a signal, and ends it in order: a disk must not vanish under who uses it. */
import { type AttachedDisk, isRootloomError, type Mount, type Unmounted } from '../index.js';
import type { CommandContext } from './context.js';
import { EXIT_CODES } from './failure.js';
import { FORCE_WINDOW_SECONDS } from './interruption.js';
import { unlessAborted, waitForAbort } from './waiting.js';

type HeldDisk = Mount | AttachedDisk;

/** How often a disk in use is tried again, in milliseconds. */
const RETRY_MS = 500;

const say = (line: string) => process.stderr.write(`rootloom: ${line}\n`);

function sayLeftovers(unmounted: readonly Unmounted[]): void {
  const left = unmounted.filter(({ lazily }) => lazily);
  for (const { device, path, reason } of left) say(`forced ${path} off ${device}; left over: ${reason}`);
  if (left.length > 0) process.exitCode = EXIT_CODES.failure;
}

/** Tries until nobody uses the disk any more; says once why it has to. Rejects when `forced` is aborted. */
async function closeWhenUnused(disk: HeldDisk, forced: AbortSignal): Promise<void> {
  let said = '';
  for (;;) {
    try {
      await unlessAborted(forced, disk.close());
      return;
    } catch (error) {
      if (!isRootloomError(error, 'BUSY')) throw error;
      if (error.message !== said) {
        say(
          `${error.message}; it ends as soon as it can, two signals within ${FORCE_WINDOW_SECONDS} seconds force it`,
        );
      }
      said = error.message;
    }
    await waitForAbort(forced, AbortSignal.timeout(RETRY_MS));
    forced.throwIfAborted();
  }
}

async function endDisk(disk: HeldDisk, forced: AbortSignal): Promise<void> {
  try {
    // Of a device that is dead nothing can be flushed, and nobody can go on using it.
    if (!disk.lost.aborted) return await closeWhenUnused(disk, forced);
  } catch (error) {
    if (error !== forced.reason) throw error;
  }
  sayLeftovers(await disk.forceClose());
}

/**
 * Opens a disk, says that it is ready, and holds it until the command is interrupted, which is success, or the kernel gives the
 * device up, which is IO. Then ends it, as soon as nobody uses it. A second signal within 5 seconds ends it at once; what is left
 * over is said then, and is a failure.
 */
export async function holdDisk<Disk extends HeldDisk>(
  context: CommandContext,
  open: () => Promise<Disk>,
  announce: (disk: Disk) => Promise<void>,
): Promise<void> {
  const { signal } = context;
  const forced = context.holdOut();
  const disk = await unlessAborted(forced, open());
  await using _ending = { [Symbol.asyncDispose]: () => endDisk(disk, forced) };
  await announce(disk);
  await waitForAbort(signal, disk.lost);
  if (!signal.aborted) throw disk.lost.reason;
}

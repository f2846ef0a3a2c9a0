/**
 * The base phase of a template that comes from another one: the source's disk with another size, by one of the strategies. By all
 * but `copy`, only what the new size and the provisioning files changed is stored.
 */
import type { Build } from '../artifact/build.js';
import { ext4 } from '../native/ext4.js';
import { openTree } from '../native/ext4-tree.js';
import type { Isolation } from '../native/isolation.js';
import { type DiskRequest, LARGEST_DISK_BYTES } from '../rootfs/disk-request.js';
import { isolationOf } from '../rootfs/isolation.js';
import { type ProvisioningFile, provisioningDigest } from '../rootfs/provisioning/files.js';
import { writeProvisioningFiles } from '../rootfs/provisioning/tree.js';
import { type CheckPolicy, makeSound } from '../rootfs/soundness.js';
import type { Strategy } from '../rootfs/strategy.js';
import type { JsonValue } from '../util/digest.js';
import { requireKnownDistribution } from './distribution.js';
import type { Phase, PhaseContext } from './phase.js';
import { describeOrigin, publishDisk } from './publish-disk.js';
import { PROVISIONING_ROOM_BYTES } from './room.js';
import { WorkDisk } from './work-disk.js';

/** A disk asked for by its free space is lent what provisioning may need; the next phase takes it back. */
function withRoom(request: DiskRequest): DiskRequest {
  if ('size' in request) return request;
  return { free: Math.min(request.free + PROVISIONING_ROOM_BYTES, LARGEST_DISK_BYTES) };
}

export class TemplatePhase implements Phase {
  readonly name = 'base';
  readonly inputs: JsonValue;

  constructor(
    private readonly source: Build,
    private readonly files: readonly ProvisioningFile[],
    private readonly request: DiskRequest | undefined,
    private readonly check: CheckPolicy,
    private readonly strategy: Strategy,
    private readonly isolation?: Isolation | undefined,
  ) {
    this.inputs = {
      source: { build: source.id },
      strategy,
      disk: request === undefined ? null : { ...request },
      // It does not change a byte, but what was never checked is no answer to who wants it checked.
      check,
      provisioning: provisioningDigest(files),
      engine: ext4.engineVersion,
    };
  }

  async run(context: PhaseContext): Promise<void> {
    const { source, check, strategy } = this;
    await using sourceDisk = await context.step('open chain', ({ signal }) =>
      WorkDisk.openOver(source, context.staging, signal),
    );
    const isolation = await isolationOf(source, this.isolation);
    await context.step('make sound', (options) =>
      makeSound(sourceDisk.overlay, source, check, { ...options, isolation, scratchFolder: context.staging }),
    );
    await using disk = await this.#resize(sourceDisk, isolation, context);
    await context.step('write provisioning files', ({ signal }) =>
      this.#writeFiles(disk, isolation, context, signal),
    );
    await publishDisk(context, disk, describeOrigin(source, strategy));
  }

  /** A new filesystem is made even where the size is to stay. */
  async #resize(disk: WorkDisk, isolation: Isolation, context: PhaseContext): Promise<WorkDisk> {
    const { request, strategy } = this;
    if (request === undefined && strategy === 'resize') return disk;
    const wanted = request === undefined ? { size: disk.overlay.size } : withRoom(request);
    return context.step(
      strategy,
      async (options) => (await disk.resized(wanted, strategy, { ...options, isolation })).disk,
    );
  }

  async #writeFiles(
    { overlay }: WorkDisk,
    isolation: Isolation,
    context: PhaseContext,
    signal: AbortSignal,
  ): Promise<void> {
    await using tree = await openTree(overlay, {
      ...{ writable: true, isolation, signal },
      scratchFolder: context.staging,
    });
    await requireKnownDistribution(tree, context);
    await writeProvisioningFiles(tree, this.files, { signal });
  }
}

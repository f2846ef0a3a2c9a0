/**
 * The base phase of a template that comes from another one: the source's disk with another size, resized in place on its
 * chain. Only what the resize and the provisioning files changed is stored.
 */
import type { Build } from '../artifact/build.js';
import { ext4 } from '../native/ext4.js';
import { openTree } from '../native/ext4-tree.js';
import { type DiskRequest, LARGEST_DISK_BYTES } from '../rootfs/disk-request.js';
import { type ProvisioningFile, provisioningDigest } from '../rootfs/provisioning/files.js';
import { writeProvisioningFiles } from '../rootfs/provisioning/tree.js';
import { resizeDisk } from '../rootfs/resize.js';
import { type CheckPolicy, makeSound } from '../rootfs/soundness.js';
import type { JsonValue } from '../util/digest.js';
import { requireKnownDistribution } from './distribution.js';
import type { Phase, PhaseContext } from './phase.js';
import { publishDisk } from './publish-disk.js';
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
  ) {
    this.inputs = {
      source: { build: source.id },
      strategy: 'resize',
      disk: request === undefined ? null : { ...request },
      // It does not change a byte, but what was never checked is no answer to who wants it checked.
      check,
      provisioning: provisioningDigest(files),
      engine: ext4.engineVersion,
    };
  }

  async run(context: PhaseContext): Promise<void> {
    const { source, check, request } = this;
    await using disk = await context.step('open chain', ({ signal }) =>
      WorkDisk.openOver(source, context.staging, signal),
    );
    await context.step('make sound', (options) => makeSound(disk.overlay, source, check, options));
    if (request !== undefined) {
      await context.step('resize', (options) =>
        resizeDisk(disk.overlay, withRoom(request), { ...options, scratchFolder: context.staging }),
      );
    }
    await context.step('write provisioning files', ({ signal }) => this.#writeFiles(disk, context, signal));
    await publishDisk(context, disk, {
      strategy: 'resize',
      sourceBuildId: source.id,
      parentBuildId: source.id,
    });
  }

  async #writeFiles({ overlay }: WorkDisk, context: PhaseContext, signal: AbortSignal): Promise<void> {
    await using tree = await openTree(overlay, { writable: true, signal });
    await requireKnownDistribution(tree, context);
    await writeProvisioningFiles(tree, this.files, { signal });
  }
}

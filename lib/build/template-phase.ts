/**
 * The base phase of a template that comes from another one: the source's disk with another size, resized in place on its
 * chain. Only what the resize and the provisioning files changed is stored.
 */
import type { Build } from '../artifact/build.js';
import { ext4 } from '../native/ext4.js';
import { openTree } from '../native/ext4-tree.js';
import type { DiskRequest } from '../rootfs/disk-request.js';
import { type ProvisioningFile, provisioningDigest } from '../rootfs/provisioning/files.js';
import { writeProvisioningFiles } from '../rootfs/provisioning/tree.js';
import { resizeDisk } from '../rootfs/resize.js';
import { type CheckPolicy, makeSound } from '../rootfs/soundness.js';
import type { JsonValue } from '../util/digest.js';
import type { Phase, PhaseContext } from './phase.js';
import { publishDisk } from './publish-disk.js';
import { WorkDisk } from './work-disk.js';

export class TemplatePhase implements Phase {
  readonly name = 'base';
  readonly inputs: JsonValue;

  constructor(
    private readonly source: Build,
    private readonly files: readonly ProvisioningFile[],
    private readonly disk: DiskRequest | undefined,
    private readonly check: CheckPolicy,
  ) {
    this.inputs = {
      source: { build: source.id },
      strategy: 'resize',
      disk: disk === undefined ? null : { ...disk },
      check,
      provisioning: provisioningDigest(files),
      engine: ext4.engineVersion,
    };
  }

  async run(context: PhaseContext): Promise<void> {
    await using disk = await context.step('open chain', () =>
      WorkDisk.openOver(this.source, context.staging),
    );
    await context.step('make sound', (options) => makeSound(disk.overlay, this.source, this.check, options));
    const { disk: request } = this;
    if (request !== undefined) {
      await context.step('resize', (options) => resizeDisk(disk.overlay, request, options));
    }
    await context.step('write provisioning files', async ({ signal }) => {
      await using tree = await openTree(disk.overlay, { writable: true, signal });
      await writeProvisioningFiles(tree, this.files, { signal });
    });
    await publishDisk(context, disk, {
      strategy: 'resize',
      sourceBuildId: this.source.id,
      parentBuildId: this.source.id,
    });
  }
}

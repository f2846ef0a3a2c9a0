/**
 * The base phase of a template that comes from another one: the source's disk with another size, resized in place on its
 * chain. Only what the resize and the provisioning files changed is stored.
 */
import type { Build } from '../artifact/build.js';
import { RootloomError } from '../errors.js';
import * as ext4 from '../native/ext4.js';
import { openTree } from '../native/ext4-tree.js';
import type { DiskRequest } from '../rootfs/disk-request.js';
import { hasProvenance } from '../rootfs/provenance.js';
import { type ProvisioningFile, provisioningDigest } from '../rootfs/provisioning/files.js';
import { writeProvisioningFiles } from '../rootfs/provisioning/tree.js';
import { resizeDisk } from '../rootfs/resize.js';
import type { JsonValue } from '../util/digest.js';
import type { CheckPolicy } from './options.js';
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
    await using disk = await context.step('open chain', () => WorkDisk.openOver(this.source, context.staging));
    await this.#makeSound(disk, context);
    const { disk: request } = this;
    const resize =
      request === undefined
        ? undefined
        : await context.step('resize', (options) => resizeDisk(disk.overlay, request, options));
    await context.step('write provisioning files', async ({ signal }) => {
      await using tree = await openTree(disk.overlay, { writable: true, signal });
      await writeProvisioningFiles(tree, this.files, { signal });
    });
    await publishDisk(context, disk, {
      ...(resize === undefined ? {} : { resize }),
      sourceBuildId: this.source.id,
      parentBuildId: this.source.id,
    });
  }

  /** Replays the journal if there is anything in it, and checks the filesystem unless it is provably as we sealed it. */
  async #makeSound({ overlay }: WorkDisk, context: PhaseContext): Promise<void> {
    const { signal } = context;
    const header = await this.source.readHeader('rootfs');
    const known = this.source.metadata.rootloom?.disk?.clean;
    if (this.check === 'auto' && (await hasProvenance(overlay, header, known, { signal }))) return;
    const { needsRecovery } = await ext4.stats(overlay, { signal });
    if (needsRecovery) await context.step('replay journal', (options) => ext4.replayJournal(overlay, options));
    if (this.check === 'never') return;
    const { clean, problems } = await context.step('check filesystem', (options) => ext4.fsck(overlay, options));
    if (clean) return;
    throw new RootloomError(
      'CORRUPT',
      `Cannot resize the disk of ${this.source.id}: its filesystem has ${problems.length} problems, a sound one is needed; the first is: ${problems[0]?.message ?? 'unknown'}`,
      { buildId: this.source.id, logTail: problems.slice(0, 30).map(({ message }) => message) },
    );
  }
}

/** A phase that needs no image and no machine: it makes a small ext4, or changes its parent's. */
import type { Build } from '../../lib/artifact/build.js';
import type { PhaseName } from '../../lib/build/events.js';
import type { Phase, PhaseContext } from '../../lib/build/phase.js';
import { publishDisk } from '../../lib/build/publish-disk.js';
import { WorkDisk } from '../../lib/build/work-disk.js';
import { ext4 } from '../../lib/native/ext4.js';
import { openTree } from '../../lib/native/ext4-tree.js';
import type { JsonValue } from '../../lib/util/digest.js';

const UUID = '3f0c5b1e-9a53-8c44-9d11-6a2b7c8d9e0f';

export interface DiskPhaseOptions {
  name?: PhaseName;
  inputs?: JsonValue;
  /** Content of /file on the disk. */
  content?: string;
  /** Called when the disk is written, and when it is published; what it throws is the phase's error. */
  at?: (moment: 'written' | 'published', context: PhaseContext) => void | Promise<void>;
  accepts?: (layer: Build) => boolean;
}

export class DiskPhase implements Phase {
  readonly name: PhaseName;
  readonly inputs: JsonValue;
  readonly accepts?: (layer: Build) => boolean;
  readonly #content: string;
  readonly #at: NonNullable<DiskPhaseOptions['at']>;

  constructor({ name = 'base', inputs = {}, content = '', at = () => {}, accepts }: DiskPhaseOptions = {}) {
    this.name = name;
    this.inputs = inputs;
    this.#content = content;
    this.#at = at;
    if (accepts !== undefined) this.accepts = accepts;
  }

  async run(context: PhaseContext, parent: Build | undefined): Promise<void> {
    const { staging, signal } = context;
    await using disk =
      parent === undefined
        ? await WorkDisk.createEmpty(staging, 16 * 1024 * 1024)
        : await WorkDisk.openOver(parent, staging);
    if (parent === undefined)
      await ext4.mkfs(disk.overlay, { uuid: UUID, hashSeed: UUID, time: 1 }, { signal });
    {
      await using tree = await openTree(disk.overlay, { writable: true, isolation: 'none' });
      await tree.writeFile('/file', this.#content);
    }
    await this.#at('written', context);
    await publishDisk(context, disk, parent === undefined ? {} : { parentBuildId: parent.id });
    await this.#at('published', context);
  }
}

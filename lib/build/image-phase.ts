/** The base phase of a template that comes from an OCI image: its layers, straight into a new ext4. */
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { ext4 } from '../native/ext4.js';
import { openTree } from '../native/ext4-tree.js';
import type { Image } from '../oci/image.js';
import type { DiskRequest } from '../rootfs/disk-request.js';
import { type ProvisioningFile, provisioningDigest } from '../rootfs/provisioning/files.js';
import { encodeProvisioningLayer } from '../rootfs/provisioning/layer.js';
import type { JsonValue } from '../util/digest.js';
import { deriveUuid } from './layer-hash.js';
import type { Phase, PhaseContext } from './phase.js';
import { publishDisk } from './publish-disk.js';
import { WorkDisk } from './work-disk.js';

/** How much larger than its compressed layers an image may be; the disk is sparse, so too much costs nothing. */
const EXPANSION = 12;

/** The time of a filesystem whose image has none: the first second, for 0 stands for "never" in a superblock. */
const EARLIEST_TIME = 1;

/** What provisioning may use on a disk that will be cut to its free space afterwards, in bytes. */
const PROVISIONING_ROOM_BYTES = 4 * 1024 ** 3;

export class ImagePhase implements Phase {
  readonly name = 'base';
  readonly inputs: JsonValue;

  constructor(
    private readonly image: Image,
    private readonly files: readonly ProvisioningFile[],
    private readonly disk: DiskRequest,
  ) {
    this.inputs = {
      source: { manifest: image.manifestDigest },
      disk: { ...disk },
      provisioning: provisioningDigest(files),
      engine: ext4.engineVersion,
    };
  }

  async run(context: PhaseContext): Promise<void> {
    await context.step('verify layers', (options) => this.image.verifyLayers(options));
    await using disk = await WorkDisk.createEmpty(context.staging, this.#size());
    await context.step('make filesystem', ({ signal }) =>
      ext4.mkfs(
        disk.overlay,
        {
          uuid: deriveUuid(context.layerHash, 'filesystem'),
          hashSeed: deriveUuid(context.layerHash, 'directory hash'),
          label: 'rootfs',
          time: this.#time(),
        },
        { signal },
      ),
    );
    await this.#applyLayers(disk, context);
    await publishDisk(context, disk, {
      image: { reference: this.image.reference, digest: this.image.manifestDigest },
    });
  }

  async #applyLayers(disk: WorkDisk, context: PhaseContext): Promise<void> {
    await using tree = await openTree(disk.overlay, {
      writable: true,
      timeNs: BigInt(this.#time()) * 1_000_000_000n,
      signal: context.signal,
    });
    for (const [index, layer] of this.image.layers.entries()) {
      await context.step(`apply layer ${index + 1} of ${this.image.layers.length}`, (options) =>
        tree.applyLayer(layer.path, { diffId: layer.diffId, ...options }),
      );
    }
    await context.step('write provisioning files', async (options) => {
      const last = path.join(context.staging, 'provisioning.tar');
      await writeFile(last, await encodeProvisioningLayer(this.files));
      await tree.applyLayer(last, options);
    });
  }

  /** The device's size now: as asked for, or room enough to cut what is not needed after provisioning. */
  #size(): number {
    if ('size' in this.disk) return this.disk.size;
    const compressed = this.image.layers.reduce((sum, { size }) => sum + size, 0);
    const wanted = compressed * EXPANSION + PROVISIONING_ROOM_BYTES + this.disk.free;
    return Math.ceil(wanted / 1024 ** 3) * 1024 ** 3;
  }

  /** The time that the filesystem carries, in seconds since 1970: the image's, so that the same image gives the same bytes. */
  #time(): number {
    const created = Date.parse(this.image.config.created ?? '');
    return created >= 1000 ? Math.floor(created / 1000) : EARLIEST_TIME;
  }
}

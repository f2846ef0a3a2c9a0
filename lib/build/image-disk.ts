/** The disk of an OCI image: an ext4 filesystem with its layers and the provisioning files, and how large it has to be. */
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { isRootloomError, RootloomError } from '../errors.js';
import { ext4 } from '../native/ext4.js';
import { type Ext4Tree, openTree } from '../native/ext4-tree.js';
import type { Ext4Stats } from '../native/ext4-types.js';
import type { Image } from '../oci/image.js';
import { LARGEST_DISK_BYTES, SMALLEST_DISK_BYTES } from '../rootfs/disk-request.js';
import type { ProvisioningFile } from '../rootfs/provisioning/files.js';
import { encodeProvisioningLayer } from '../rootfs/provisioning/layer.js';
import { withSystemErrors } from '../util/system-error.js';
import { requireKnownDistribution } from './distribution.js';
import { deriveUuid } from './layer-hash.js';
import type { PhaseContext, StepOptions } from './phase.js';
import { WorkDisk } from './work-disk.js';

const MIB = 1024 ** 2;

/** How much larger than its compressed layers an image is taken to be at first. */
const EXPANSION = 12;

/** A disk is larger than what is put on it by its inode tables, 1/64 of it, and its journal. */
const METADATA_FACTOR = 1.05;

/** How much content each inode stands for in our profile, in bytes. */
const BYTES_PER_INODE = 16384;

/** The times of a filesystem, in seconds since 1970: 0 stands for "never" in a superblock, and inodes have 34 bits. */
const EARLIEST_TIME = 1;
const LATEST_TIME = 2 ** 34 - 2 ** 31 - 1;

/** The image's time, so that the same image gives the same bytes; the first second for one without. */
function timeOf(image: Image): number {
  const created = Math.floor(Date.parse(image.config.created ?? '') / 1000);
  return created >= EARLIEST_TIME && created <= LATEST_TIME ? created : EARLIEST_TIME;
}

/** True when the image on the disk is full, as opposed to the host. */
function isDiskFull(error: unknown): boolean {
  return isRootloomError(error, 'NO_SPACE') && error.context.errno === undefined;
}

function roundUp(bytes: number): number {
  return Math.min(Math.ceil(bytes / MIB) * MIB, LARGEST_DISK_BYTES);
}

export class ImageDisk {
  constructor(
    private readonly image: Image,
    private readonly files: readonly ProvisioningFile[],
    private readonly context: PhaseContext,
  ) {}

  /**
   * Makes a disk of exactly `size` bytes. Rejects with TOO_SMALL when the image does not fit; its `minimum` has been tried. The
   * caller closes the disk.
   */
  async makeOfSize(size: number): Promise<WorkDisk> {
    try {
      return await this.#fill(size, (name, body) => this.context.step(name, body));
    } catch (error) {
      if (!isDiskFull(error)) throw error;
      const minimum = await this.context.step('find the smallest size', () => this.#findMinimum());
      const { reference } = this.image;
      const message = `Cannot put ${reference} on a disk of ${size} bytes: the image alone needs ${minimum} or more`;
      throw new RootloomError('TOO_SMALL', message, { operation: 'apply layers', minimum }, { cause: error });
    }
  }

  /** Makes a disk that the image fits, with at least `room` bytes to spare. The caller closes the disk. */
  async makeWithRoom(room: number): Promise<WorkDisk> {
    return this.#fillLarge(room, (name, body) => this.context.step(name, body));
  }

  /** How much an image unpacks to is known when it has been unpacked: a disk that turns out too small is made again. */
  async #fillLarge(room: number, step: PhaseContext['step']): Promise<WorkDisk> {
    const { signal } = this.context;
    let content = this.image.layers.reduce((sum, layer) => sum + layer.size, 0) * EXPANSION;
    for (;;) {
      const size = Math.max(roundUp((content + room) * METADATA_FACTOR), SMALLEST_DISK_BYTES);
      try {
        const disk = await this.#fill(size, step);
        const stats = await closingOnError(disk, () =>
          ext4.stats(disk.overlay, { signal, isolation: 'none' }),
        );
        if (stats.freeBytes >= room) return disk;
        await disk.close();
        content = stats.usedBytes;
      } catch (error) {
        if (!isDiskFull(error) || size === LARGEST_DISK_BYTES) throw error;
        content = size * 2;
      }
    }
  }

  async #fill(size: number, step: PhaseContext['step']): Promise<WorkDisk> {
    const { signal, staging } = this.context;
    const disk = await WorkDisk.createEmpty(staging, size, signal);
    await closingOnError(disk, async () => {
      await step('make filesystem', (options) => this.#makeFilesystem(disk, options));
      await this.#applyLayers(disk, step);
    });
    return disk;
  }

  async #makeFilesystem({ overlay }: WorkDisk, { signal }: { signal: AbortSignal }): Promise<void> {
    const { layerHash } = this.context;
    const identity = {
      uuid: deriveUuid(layerHash, 'filesystem'),
      hashSeed: deriveUuid(layerHash, 'directory hash'),
      label: 'rootfs',
    };
    await ext4.mkfs(overlay, { ...identity, time: timeOf(this.image) }, { signal });
  }

  async #applyLayers({ overlay }: WorkDisk, step: PhaseContext['step']): Promise<void> {
    const { signal } = this.context;
    const { layers } = this.image;
    const timeNs = BigInt(timeOf(this.image)) * 1_000_000_000n;
    // Of a filesystem that was made here, and so is what writes to it.
    await using tree = await openTree(overlay, { writable: true, timeNs, isolation: 'none', signal });
    for (const [index, { path: blob, diffId }] of layers.entries()) {
      const report = await step(`apply layer ${index + 1} of ${layers.length}`, (options) =>
        tree.applyLayer(blob, { diffId, ...options }),
      );
      for (const { path: file, name } of report.skippedXattrs)
        this.context.log(`ext4 cannot hold the attribute ${name} of ${file}: it was left out`);
    }
    await requireKnownDistribution(tree, this.context);
    await step('write provisioning files', (options) => this.#writeProvisioningFiles(tree, options));
  }

  async #writeProvisioningFiles(tree: Ext4Tree, options: StepOptions): Promise<void> {
    const layer = path.join(this.context.staging, 'provisioning.tar');
    const content = await encodeProvisioningLayer(this.files);
    await withSystemErrors('write', layer, () => writeFile(layer, content));
    await tree.applyLayer(layer, options);
  }

  /** The smallest size, of those tried, that the image fits. */
  async #findMinimum(): Promise<number> {
    const { signal } = this.context;
    const quietly: PhaseContext['step'] = (_, body) => body({ signal, onProgress: () => {} });
    const full = await this.#measureFull(quietly);
    const empty = await this.#measureEmpty(full.sizeBytes);
    const content = full.usedBytes - empty.usedBytes;
    const inodes = full.inodeCount - full.freeInodeCount;
    let size = Math.max(roundUp(Math.max(content, inodes * BYTES_PER_INODE)), SMALLEST_DISK_BYTES);
    for (;;) {
      const { usedBytes } = await this.#measureEmpty(size);
      if (content + usedBytes <= size) break;
      size = roundUp(content + usedBytes);
    }
    for (; ; size = roundUp(size * 1.01)) {
      try {
        await (await this.#fill(size, quietly)).close();
        return size;
      } catch (error) {
        if (!isDiskFull(error)) throw error;
      }
    }
  }

  async #measureEmpty(size: number): Promise<Ext4Stats> {
    const { signal, staging } = this.context;
    await using disk = await WorkDisk.createEmpty(staging, size, signal);
    await this.#makeFilesystem(disk, { signal });
    return await ext4.stats(disk.overlay, { signal, isolation: 'none' });
  }

  async #measureFull(step: PhaseContext['step']): Promise<Ext4Stats> {
    await using disk = await this.#fillLarge(0, step);
    return await ext4.stats(disk.overlay, { signal: this.context.signal, isolation: 'none' });
  }
}

async function closingOnError<Value>(disk: WorkDisk, body: () => Promise<Value>): Promise<Value> {
  try {
    return await body();
  } catch (error) {
    await disk.close();
    throw error;
  }
}

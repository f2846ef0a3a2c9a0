/** Random ext4 images: what a mke2fs of some distribution makes, or our own, with files that are hard to carry over. */
import { open, rm } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import { isRootloomError } from '../../lib/errors.js';
import { openFileDevice } from '../../lib/native/device.js';
import { ext4 } from '../../lib/native/ext4.js';
import { openTree } from '../../lib/native/ext4-tree.js';
import type { Random } from '../helpers/random.js';
import { type FileTarget, HostFolder, makeHostFolder } from './host-folder.js';

const MIB = 1024 ** 2;
const UUID = '5c5a8f0e-6b1d-8d3f-9a55-0d1f4a6b7c8d';

/** Feature sets of mke2fs that a resize is to carry; ours is the library's own profile. */
const PROFILES = [
  'ours',
  'ours',
  '-t ext4',
  '-t ext4 -O ^64bit,^metadata_csum',
  '-t ext4 -O ^has_journal',
  '-t ext4 -O orphan_file',
  '-t ext4 -O ^flex_bg',
  '-t ext4 -O ^resize_inode',
  '-t ext4 -O ^dir_index,^sparse_super,^resize_inode -i 8192',
  '-t ext4 -O sparse_super2',
  '-t ext4 -O ^extent,^64bit',
  '-t ext4 -O quota,project',
  '-t ext4 -O inline_data',
  '-t ext4 -O casefold',
  '-t ext4 -I 128 -O ^metadata_csum',
  '-t ext4 -G 4 -i 65536',
  '-t ext3',
  '-t ext2',
] as const;

export type Profile = (typeof PROFILES)[number];

/** The library reads these, and writes no file into them. */
const READ_ONLY = /quota|inline_data|casefold|\^extent|ext[23]$/;

export interface RandomImage {
  /** How it was made, for the report of a failure. */
  profile: string;
  /** In bytes. */
  size: number;
}

async function makeOurs(file: string, size: number): Promise<void> {
  await using device = await openFileDevice(file, { create: size });
  await ext4.mkfs(device, { uuid: UUID, hashSeed: UUID, time: 1_700_000_000 });
}

async function makeByStockTool(file: string, args: readonly string[], size: number): Promise<void> {
  await using image = await open(file, 'w');
  await image.truncate(size);
  await execa('mke2fs', [...args, file], { env: { E2FSPROGS_FAKE_TIME: '1700000000' } });
}

/** Makes files until the image is as full as wanted; whatever finds no room ends it. */
class Filler {
  #files: string[] = [];
  #directories = ['/'];
  #count = 0;

  constructor(
    private readonly tree: FileTarget,
    private readonly random: Random,
    private readonly folder: string,
  ) {}

  async fill(steps: number): Promise<void> {
    for (let step = 0; step < steps; step += 1) {
      try {
        await this.#step();
      } catch (error) {
        if (isRootloomError(error, 'NO_SPACE')) return;
        throw error;
      }
    }
  }

  #step(): Promise<void> {
    switch (this.random.integer(0, 11)) {
      case 0:
        return this.#makeDirectory();
      case 1:
        return this.#makeLargeDirectory();
      case 2:
        return this.#writeSparse();
      case 3:
        return this.#makeLinks();
      case 4:
        return this.#setAttributes();
      case 5:
        return this.#makeNode();
      case 6:
        return this.#remove();
      default:
        return this.#writeFile();
    }
  }

  #newPath(): string {
    this.#count += 1;
    const parent = this.random.pick(this.#directories as [string, ...string[]]);
    const name = `${this.#count}-${'n'.repeat(this.random.integer(0, this.random.chance(0.1) ? 240 : 12))}`;
    return path.posix.join(parent, name);
  }

  #attributes() {
    const { random } = this;
    return {
      mode: random.integer(0, 0o7777),
      uid: random.pick([0, 1000, 70_000, 2 ** 32 - 2]),
      gid: random.pick([0, 1000, 70_000]),
      mtimeNs: BigInt(random.integer(0, 2 ** 31)) * 1_000_000_000n + BigInt(random.integer(0, 999_999_999)),
    };
  }

  async #writeFile(): Promise<void> {
    const file = this.#newPath();
    const size = this.random.integer(0, this.random.pick([60, 5_000, 200_000, 3 * MIB]));
    await this.tree.writeFile(file, this.random.bytes(size), this.#attributes());
    this.#files.push(file);
  }

  async #makeDirectory(): Promise<void> {
    const directory = this.#newPath();
    await this.tree.mkdir(directory, this.#attributes());
    this.#directories.push(directory);
  }

  async #makeLargeDirectory(): Promise<void> {
    const directory = this.#newPath();
    await this.tree.mkdir(directory);
    for (let entry = this.random.integer(20, 400); entry > 0; entry -= 1) {
      await this.tree.symlink('x'.repeat(this.random.integer(1, 90)), `${directory}/entry-of-it-${entry}`);
    }
  }

  /** Islands of data in a hole: many extents, and where there are none many indirect blocks. */
  async #writeSparse(): Promise<void> {
    const source = path.join(this.folder, 'islands');
    const islands = this.random.integer(1, 120);
    const stride = this.random.pick([8192, 65_536, MIB]);
    {
      await using content = await open(source, 'w');
      await content.truncate(islands * stride);
      for (let island = 0; island < islands; island += 1) {
        if (this.random.chance(0.8)) await content.write(this.random.bytes(1024), 0, 1024, island * stride);
      }
    }
    const file = this.#newPath();
    await this.tree.copyIn(source, file, this.#attributes());
    this.#files.push(file);
  }

  async #makeLinks(): Promise<void> {
    const [existing] = this.#files.slice(-1);
    if (existing === undefined) return;
    for (let count = this.random.integer(1, 5); count > 0; count -= 1) {
      await this.tree.link(existing, this.#newPath());
    }
  }

  async #setAttributes(): Promise<void> {
    const [file] = this.#files.slice(-1);
    if (file === undefined) return;
    const size = this.random.pick([0, 20, 60, 300]);
    try {
      await this.tree.setXattr(file, `trusted.${this.random.integer(0, 1)}`, this.random.bytes(size));
      await this.tree.setXattr(file, 'security.test', 'y');
    } catch (error) {
      if (!isRootloomError(error, 'UNSUPPORTED')) throw error; // They have outgrown their room.
    }
  }

  async #makeNode(): Promise<void> {
    const type = this.random.pick(['fifo', 'socket', 'character-device', 'block-device'] as const);
    const numbers = type.endsWith('device') ? { major: 8, minor: this.random.integer(0, 300) } : {};
    await this.tree.mknod(this.#newPath(), { type, ...numbers, ...this.#attributes() });
  }

  /** Leaves holes in the middle of what is used. */
  async #remove(): Promise<void> {
    const index = this.random.integer(0, this.#files.length - 1);
    const [file] = this.#files.splice(index, 1);
    if (file !== undefined) await this.tree.remove(file);
  }
}

const STEPS = [3, 15, 40, 80] as const;

async function fill(file: string, random: Random): Promise<void> {
  await using device = await openFileDevice(file, { writable: true });
  await using tree = await openTree(device, {
    writable: true,
    isolation: 'none',
    timeNs: 1_700_000_000_000_000_000n,
  });
  await new Filler(tree, random, path.dirname(file)).fill(random.pick(STEPS));
}

/** Directories are written last. Where files have left no room for them, another image is made, with other files. */
async function makeAndFill(file: string, random: Random, makeEmpty: () => Promise<void>): Promise<void> {
  for (;;) {
    await makeEmpty();
    try {
      return await fill(file, random);
    } catch (error) {
      if (!isRootloomError(error, 'NO_SPACE')) throw error;
      await rm(file);
    }
  }
}

/** mke2fs counts no quota for the files that it brings; nor does e2fsck for what it changes while it counts, until it is run again. */
async function makeSound(file: string): Promise<void> {
  await execa('e2fsck', ['-fy', file], { reject: false });
  const { exitCode } = await execa('e2fsck', ['-fy', file], { reject: false });
  if (exitCode !== 0) await execa('e2fsck', ['-fn', file]);
}

async function makeFromFolder(file: string, args: readonly string[], size: number, random: Random) {
  const folder = await makeHostFolder(path.dirname(file));
  try {
    await new Filler(new HostFolder(folder), random, path.dirname(file)).fill(random.pick(STEPS) / 2);
    await makeByStockTool(file, ['-d', folder, ...args], size);
    await makeSound(file);
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Makes a random image at `file`, whose folder is for scratch files, too. Its profile is random where none is given. */
export async function makeRandomImage(
  file: string,
  random: Random,
  profile: Profile = random.pick(PROFILES),
): Promise<RandomImage> {
  const size = random.integer(20, 160) * MIB;
  if (profile === 'ours') {
    await makeAndFill(file, random, () => makeOurs(file, size));
    return { profile, size };
  }
  const block = random.pick(['1024', '2048', '4096', '4096', '4096']);
  const args = `${profile} -b ${block} -m ${random.integer(0, 5)} -F -q -U ${UUID}`.split(' ');
  if (READ_ONLY.test(profile)) {
    await makeFromFolder(file, args, size + 48 * MIB, random);
    return { profile: args.join(' '), size: size + 48 * MIB };
  }
  await makeAndFill(file, random, () => makeByStockTool(file, args, size));
  return { profile: args.join(' '), size };
}

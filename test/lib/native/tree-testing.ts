/** What the tests of trees and layers share: images, archives made byte by byte, and other programs' views of them. */
import { execFileSync, spawnSync } from 'node:child_process';
import { lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'vitest';
import { type Device, openFileDevice } from '../../../lib/native/device.js';
import { ext4 } from '../../../lib/native/ext4.js';
import { type Ext4Tree, openTree } from '../../../lib/native/ext4-tree.js';
import type { FileDigest, FileType } from '../../../lib/native/ext4-tree-types.js';
import type { Isolation } from '../../../lib/native/isolation.js';
import { verityDigest } from '../../helpers/verity-digest.js';

export const MIB = 1 << 20;
/** The time that every test image is made at, and that changes are stamped with. */
export const IMAGE_TIME_SECONDS = 1_700_000_000;
export const IMAGE_TIME_NS = BigInt(IMAGE_TIME_SECONDS) * 1_000_000_000n;

/** A folder of this test's own, removed when it is disposed of. */
export function scratchFolder(): { path: string; [Symbol.dispose](): void } {
  const folder = mkdtempSync(path.join(tmpdir(), 'rootloom-tree-'));
  return { path: folder, [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }) };
}

export class TestImage {
  constructor(
    readonly path: string,
    readonly device: Device,
    readonly tree: Ext4Tree,
  ) {}

  static async create(
    folder: string,
    {
      size = 64 * MIB,
      name = 'image',
      isolation = 'none',
    }: { size?: number; name?: string; isolation?: Isolation } = {},
  ): Promise<TestImage> {
    const file = path.join(folder, name);
    const device = await openFileDevice(file, { writable: true, create: size });
    await ext4.mkfs(device, {
      uuid: '11111111-2222-4333-8444-555555555555',
      hashSeed: '66666666-7777-4888-8999-aaaaaaaaaaaa',
      time: IMAGE_TIME_SECONDS,
    });
    const tree = await openTree(device, { writable: true, timeNs: IMAGE_TIME_NS, isolation });
    return new TestImage(file, device, tree);
  }

  /** Closes the tree, and lets the stock e2fsck look at the image. */
  async closeAndCheck(): Promise<void> {
    await this.tree.close();
    await this.device.close();
    expectClean(this.path);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.tree.close();
    await this.device.close();
  }
}

/** The stock e2fsck finds nothing. */
export function expectClean(image: string): void {
  const { status, stdout, stderr, error } = spawnSync('e2fsck', ['-fn', image], { encoding: 'utf8' });
  if (error) throw error;
  expect(`${stdout}${status === 0 ? '' : stderr}`).toMatch(/Pass 5/);
  expect({ status, stdout }).toEqual({ status: 0, stdout });
}

export function run(command: string, args: string[], cwd?: string): string {
  return execFileSync(command, args, { encoding: 'utf8', cwd, maxBuffer: 64 * MIB });
}

/** One request to the stock debugfs. */
export function debugfs(image: string, request: string): string {
  return run('debugfs', ['-R', request, image]);
}

export async function collect<Value>(values: AsyncIterable<Value>): Promise<Value[]> {
  const all: Value[] = [];
  for await (const value of values) all.push(value);
  return all;
}

/** All paths of a tree but the root and lost+found. */
export async function paths(tree: Ext4Tree): Promise<string[]> {
  const files = await collect(tree.walk());
  return files.map((file) => file.path).filter((name) => name !== '/' && name !== '/lost+found');
}

/** What two views of one file have in common, whoever made them. */
export interface FileFacts {
  type: FileType;
  mode: number;
  owner: string;
  mtimeNs: bigint;
  linkCount: number | undefined;
  device: string | undefined;
  target: string | undefined;
  size: number | undefined;
  contentDigest: string | undefined;
  hardLink: string | undefined;
  xattrs: Record<string, string>;
}
/** By path; paths are latin1, so that every byte has its place. */
export type Facts = Map<string, FileFacts>;

const latin1 = (bytes: Buffer | undefined, text: string) => (bytes ?? Buffer.from(text)).toString('latin1');

/** A tree as facts. */
export async function factsOf(tree: Ext4Tree): Promise<Facts> {
  const facts: Facts = new Map();
  for await (const file of tree.digest()) {
    const name = latin1(file.pathBytes, file.path);
    if (name !== '/' && name !== '/lost+found') facts.set(name, factsOfFile(file));
  }
  return facts;
}

function factsOfFile(file: FileDigest): FileFacts {
  const isFile = file.type === 'file';
  return {
    type: file.type,
    mode: file.mode,
    owner: `${file.uid}:${file.gid}`,
    mtimeNs: file.mtimeNs,
    linkCount: file.linkCount,
    device: file.device === undefined ? undefined : `${file.device.major}:${file.device.minor}`,
    target: file.target === undefined ? undefined : latin1(file.targetBytes, file.target),
    size: isFile ? file.size : undefined,
    contentDigest: file.contentDigest,
    hardLink: file.hardLink === undefined ? undefined : latin1(file.hardLinkBytes, file.hardLink),
    xattrs: Object.fromEntries(file.xattrs.map(({ name, value }) => [name, value.toString('hex')])),
  };
}

/** A folder of the host as facts. REQUIRES: root, so that all attributes can be read. */
export function factsOfFolder(folder: string): Facts {
  const facts: Facts = new Map();
  const firstPaths = new Map<bigint, string>();
  const xattrs = hostXattrs(folder);
  const visit = (directory: Buffer) => {
    const names = readdirSync(directory, { encoding: 'buffer' }).sort(Buffer.compare);
    for (const name of names) {
      const full = Buffer.concat([directory, Buffer.from('/'), name]);
      const inside = full.subarray(Buffer.byteLength(folder)).toString('latin1');
      const stat = lstatSync(full, { bigint: true });
      const isFile = stat.isFile();
      const isDevice = stat.isBlockDevice() || stat.isCharacterDevice();
      const shared = !stat.isDirectory() && stat.nlink > 1n;
      facts.set(inside, {
        type: hostType(stat),
        mode: Number(stat.mode & 0o7777n),
        owner: `${stat.uid}:${stat.gid}`,
        mtimeNs: stat.mtimeNs,
        linkCount: Number(stat.nlink),
        device: isDevice
          ? `${(stat.rdev >> 8n) & 0xfffn}:${(stat.rdev & 0xffn) | ((stat.rdev >> 12n) & 0xfff00n)}`
          : undefined,
        target: stat.isSymbolicLink()
          ? readlinkSync(full, { encoding: 'buffer' }).toString('latin1')
          : undefined,
        size: isFile ? Number(stat.size) : undefined,
        contentDigest: isFile ? verityDigest(readFileSync(full)) : undefined,
        hardLink: shared ? firstPaths.get(stat.ino) : undefined,
        xattrs: xattrs.get(inside) ?? {},
      });
      if (shared && !firstPaths.has(stat.ino)) firstPaths.set(stat.ino, inside);
      if (stat.isDirectory()) visit(full);
    }
  };
  visit(Buffer.from(folder));
  facts.delete('/lost+found');
  return facts;
}

function hostType(stat: ReturnType<typeof lstatSync> & object): FileType {
  if (stat.isDirectory()) return 'directory';
  if (stat.isSymbolicLink()) return 'symlink';
  if (stat.isCharacterDevice()) return 'character-device';
  if (stat.isBlockDevice()) return 'block-device';
  if (stat.isFIFO()) return 'fifo';
  return stat.isSocket() ? 'socket' : 'file';
}

function hostXattrs(folder: string): Map<string, Record<string, string>> {
  const listing = execFileSync('getfattr', ['-R', '-P', '-h', '-d', '-m', '-', '-e', 'hex', '--', '.'], {
    cwd: folder,
    maxBuffer: 64 * MIB,
  }).toString('latin1');
  const byPath = new Map<string, Record<string, string>>();
  for (const section of listing.split('\n\n')) {
    const [head, ...lines] = section.split('\n').filter((line) => line !== '');
    if (head === undefined) continue;
    const name = unescapeOctal(head.replace('# file: ', ''));
    const values = lines.map((line) => {
      const at = line.indexOf('=');
      return [unescapeOctal(line.slice(0, at)), line.slice(at + 1).replace(/^0x/, '')] as const;
    });
    byPath.set(name === '.' ? '/' : `/${name}`, Object.fromEntries(values));
  }
  return byPath;
}

const unescapeOctal = (text: string) =>
  text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));

/**
 * What a kernel sees of an image: mounted read-only through a loop device. Where the kernel has none, what the stock
 * debugfs copies out of it; then link counts and attributes, which it does not restore, are taken from `ours`.
 */
export function factsOfMount(image: string, folder: string, ours: Facts): Facts {
  const point = path.join(folder, 'mount');
  mkdirSync(point);
  const mounted = spawnSync('mount', ['-o', 'loop,ro,noload', image, point], { encoding: 'utf8' });
  if (mounted.status === 0) {
    try {
      return factsOfFolder(point);
    } finally {
      run('umount', [point]);
    }
  }
  console.warn(`No loop mount (${mounted.stderr.trim()}): the image is read with debugfs instead`);
  debugfs(image, `rdump / ${point}`);
  const facts = factsOfFolder(point);
  for (const [name, file] of facts) {
    const own = ours.get(name);
    if (own !== undefined) {
      Object.assign(file, {
        xattrs: own.xattrs,
        linkCount: own.linkCount,
        hardLink: own.hardLink,
        mtimeNs: own.mtimeNs,
      });
    }
  }
  return facts;
}

/** A folder of the host that takes files as an image's tree does: what `mke2fs -d` makes an image of. */
import {
  chmod,
  chown,
  link,
  lutimes,
  mkdir,
  mkdtemp,
  rm,
  statfs,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import type { Ext4Tree } from '../../lib/native/ext4-tree.js';
import type { AttributeChange, NewNode } from '../../lib/native/ext4-tree-types.js';

/** What is needed to fill an image. */
export type FileTarget = Pick<
  Ext4Tree,
  'writeFile' | 'mkdir' | 'symlink' | 'copyIn' | 'link' | 'setXattr' | 'mknod' | 'remove'
>;

const SHARED_MEMORY = '/dev/shm';
/** For the files of several images. A container has 64 MiB, unless told otherwise. */
const ENOUGH_BYTES = 512 * 1024 ** 2;

/**
 * A new folder: in memory where there is enough, below `otherwise` where not. Hundreds of files that are soon gone take an ext4 of the
 * host, which looks for inodes that were not freed just now, more time than all else that is done with them.
 */
export async function makeHostFolder(otherwise: string): Promise<string> {
  const shared = await statfs(SHARED_MEMORY).catch(() => undefined);
  const hasRoom = shared !== undefined && shared.bavail * shared.bsize >= ENOUGH_BYTES;
  return mkdtemp(path.join(hasRoom ? SHARED_MEMORY : otherwise, 'rootloom-files-'));
}

const asText = (name: string | Uint8Array) =>
  typeof name === 'string' ? name : Buffer.from(name).toString();

export class HostFolder implements FileTarget {
  constructor(private readonly root: string) {}

  async writeFile(file: string, data: string | Uint8Array, attributes: AttributeChange = {}): Promise<void> {
    await writeFile(this.#at(file), data);
    await this.#setAttributes(file, attributes);
  }

  async mkdir(folder: string, attributes: AttributeChange = {}): Promise<void> {
    await mkdir(this.#at(folder));
    await this.#setAttributes(folder, attributes);
  }

  async symlink(target: string, file: string): Promise<void> {
    await symlink(target, this.#at(file));
    await lutimes(this.#at(file), 1_700_000_000, 1_700_000_000);
  }

  async copyIn(hostPath: string, file: string, attributes: AttributeChange = {}): Promise<void> {
    await execa('cp', ['--sparse=always', hostPath, this.#at(file)]);
    await this.#setAttributes(file, attributes);
  }

  async link(existing: string, file: string): Promise<void> {
    await link(this.#at(existing), this.#at(file));
  }

  async setXattr(file: string, name: string | Uint8Array, value: string | Uint8Array): Promise<void> {
    const hex = `0x${Buffer.from(value).toString('hex')}`;
    await execa('setfattr', ['--name', asText(name), '--value', hex, this.#at(file)]);
  }

  async mknod(file: string, { type, major = 0, minor = 0, ...attributes }: NewNode): Promise<void> {
    if (type === 'fifo') await execa('mkfifo', [this.#at(file)]);
    else if (type === 'socket')
      return; // Only a server makes one.
    else await execa('mknod', [this.#at(file), type === 'block-device' ? 'b' : 'c', `${major}`, `${minor}`]);
    await this.#setAttributes(file, attributes);
  }

  async remove(file: string): Promise<void> {
    await rm(this.#at(file));
  }

  #at(file: string | Uint8Array): string {
    return path.join(this.root, asText(file));
  }

  async #setAttributes(file: string, attributes: AttributeChange): Promise<void> {
    const { mode = 0o644, uid = 0, gid = 0, mtimeNs = 0n } = attributes;
    await chown(this.#at(file), uid, gid);
    await chmod(this.#at(file), mode);
    await utimes(this.#at(file), Number(mtimeNs) / 1e9, Number(mtimeNs) / 1e9);
  }
}

/** A small OCI image made by umoci: quick enough for a test of its own, odd enough to be worth copying. */
import { randomBytes } from 'node:crypto';
import { chmod, link, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';

export interface SmallImage {
  /** As rootloom takes it. */
  reference: string;
}

export interface SmallImageOptions {
  /** Of os-release; default debian. */
  distribution?: string;
  /** Content of /srv/note; different notes are different images. */
  note?: string;
  /** Bytes that no compression makes smaller, in /srv/bulk; default none. */
  bulkBytes?: number;
}

async function writeTree(folder: string, options: SmallImageOptions): Promise<void> {
  const { distribution = 'debian', note = '', bulkBytes = 0 } = options;
  await mkdir(path.join(folder, 'etc'), { recursive: true });
  await writeFile(
    path.join(folder, 'etc/os-release'),
    `ID=${distribution}\nVERSION_ID="12"\nPRETTY_NAME="Small"\n`,
  );
  await mkdir(path.join(folder, 'srv'));
  await writeFile(path.join(folder, 'srv/note'), note);
  if (bulkBytes > 0) await writeFile(path.join(folder, 'srv/bulk'), randomBytes(bulkBytes));
  await writeFile(path.join(folder, 'srv/data'), Buffer.alloc(300_000, 'rootloom '));
  await link(path.join(folder, 'srv/data'), path.join(folder, 'srv/second-name'));
  await symlink('data', path.join(folder, 'srv/link'));
  await writeFile(path.join(folder, 'srv/secret'), 'nobody reads this\n');
  await chmod(path.join(folder, 'srv/secret'), 0o000);
}

/** Makes the image in `folder`, which must exist. */
export async function makeSmallImage(folder: string, options: SmallImageOptions = {}): Promise<SmallImage> {
  const tree = await mkdtemp(path.join(folder, 'tree-'));
  const tar = `${tree}.tar`;
  const layout = path.join(folder, 'image');
  await writeTree(tree, options);
  await execa('tar', ['--create', '--file', tar, '--directory', tree, '--numeric-owner', '--sort=name', '.']);
  await execa('umoci', ['init', '--layout', layout]);
  await execa('umoci', ['new', '--image', `${layout}:small`]);
  await execa('umoci', ['raw', 'add-layer', '--image', `${layout}:small`, tar]);
  await rm(tree, { recursive: true });
  await rm(tar);
  return { reference: `oci:${layout}:small` };
}

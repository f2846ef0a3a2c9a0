/** A store for tests of the command line: a base disk from a small image, and the same disk with another size. */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { execa } from 'execa';
import { openStore, resizeRootfs } from '../../../lib/index.js';
import { buildBase } from '../../helpers/base-build.js';
import { makeSmallImage } from '../../helpers/small-image.js';

const MIB = 1024 * 1024;

export const BASE_SIZE = 64 * MIB;
export const RESIZED_SIZE = 256 * MIB;
export const BLOB_SIZE = 20 * MIB;

export interface SmallStore {
  /** All of it is below. */
  folder: string;
  /** The store's folder. */
  path: string;
  /** The image that the disks were made from, as rootloom takes it. */
  reference: string;
  /** Of 64 MiB, with the image's files. */
  base: string;
  /** Of 256 MiB, the same files. */
  resized: string;
}

/** Adds a layer with one file to an image, under another tag when one is given. */
export async function addToImage(reference: string, file: string, name: string, tag?: string): Promise<void> {
  const tar = `${file}.tar`;
  const rename = `--transform=s|.*|${name}|`;
  const options = ['--create', '--owner=0', '--group=0', '--mode=0644', '--file', tar, '--absolute-names'];
  await execa('tar', [...options, rename, file]);
  const image = ['--image', reference.replace(/^oci:/, ''), ...(tag === undefined ? [] : ['--tag', tag])];
  await execa('umoci', ['raw', 'add-layer', ...image, tar]);
  await rm(tar);
}

/**
 * For `beforeAll`; `removeSmallStore` is for `afterAll`.
 *
 * @param blobBytes Size of an incompressible file /srv/blob; 0 for none.
 */
export async function makeSmallStore({ blobBytes = BLOB_SIZE } = {}): Promise<SmallStore> {
  const folder = await mkdtemp(path.join(tmpdir(), 'rootloom-cli-'));
  const { reference } = await makeSmallImage(folder);
  if (blobBytes > 0) {
    await writeFile(path.join(folder, 'blob'), randomBytes(blobBytes));
    await addToImage(reference, path.join(folder, 'blob'), 'srv/blob');
  }
  const storePath = path.join(folder, 'store');
  await using store = await openStore(storePath);
  const { build } = await buildBase({ store, reference, disk: { size: BASE_SIZE } });
  const { buildId } = await resizeRootfs(store, build.id, { disk: { size: RESIZED_SIZE } });
  return { folder, path: storePath, reference, base: build.id, resized: buildId };
}

/** Takes what `makeSmallStore` has made, if it came so far. */
export async function removeSmallStore(store: SmallStore | undefined): Promise<void> {
  if (store !== undefined) await rm(store.folder, { recursive: true, force: true });
}

/** Published builds whose disks are compared and resized. */
import path from 'node:path';
import { type CompareOptions, compareTrees } from '../../lib/native/ext4-tree-compare.js';
import { openRootfs } from '../../lib/rootfs/rootfs.js';
import { openStore } from '../../lib/storage/open-store.js';
import type { Store } from '../../lib/storage/store.js';
import { buildBase } from './base-build.js';
import { makeSmallImage } from './small-image.js';
import { makeScratch } from './temporary.js';

/** In a store of its own: the base layer of a small image, on a disk of `size` bytes. */
export async function makeSmallBase(size: number) {
  const folder = await makeScratch();
  const { reference } = await makeSmallImage(folder);
  const store = await openStore(path.join(folder, 'store'));
  const { build } = await buildBase({ store, reference, disk: { size } });
  return { folder, store, build };
}

/** What differs between the files of two builds; by default all that a resize must leave as it is. */
export async function findDifferences(
  store: Store,
  a: string,
  b: string,
  options: CompareOptions = { atime: true },
): Promise<unknown[]> {
  await using first = await openRootfs(store, a);
  await using second = await openRootfs(store, b);
  await using firstTree = await first.openTree();
  await using secondTree = await second.openTree();
  const found: unknown[] = [];
  for await (const difference of compareTrees(firstTree, secondTree, options)) found.push(difference);
  return found;
}

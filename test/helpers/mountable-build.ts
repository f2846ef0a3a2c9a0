/** A build to mount, made without tools, for they are slow where it is needed. */
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { openFileDevice } from '../../lib/native/device.js';
import { ext4 } from '../../lib/native/ext4.js';
import { type Ext4Tree, openTree } from '../../lib/native/ext4-tree.js';
import { openStore } from '../../lib/storage/open-store.js';
import type { Store } from '../../lib/storage/store.js';
import { publishImage } from './image-build.js';

const SIZE = 64 * 2 ** 20;
const UUID = '3f0c5b1e-9a53-8c44-9d11-6a2b7c8d9e0f';

export interface MountableBuild {
  store: Store;
  /** The store's folder. */
  storePath: string;
  buildId: string;
  /** Of /srv/blob. */
  blob: Buffer;
}

/** Publishes a disk of 64 MiB into a store below `folder`. `change` may put more into it. */
export async function makeMountableBuild(
  folder: string,
  change: (tree: Ext4Tree) => Promise<void> = async () => {},
): Promise<MountableBuild> {
  const image = path.join(folder, 'image.ext4');
  const blob = randomBytes(2 * 2 ** 20);
  {
    await using device = await openFileDevice(image, { create: SIZE });
    await ext4.mkfs(device, { uuid: UUID, hashSeed: UUID });
    await using tree = await openTree(device, { writable: true, isolation: 'none' });
    await tree.mkdir('/srv');
    await tree.writeFile('/srv/blob', blob);
    await tree.writeFile('/srv/secret', 'nobody reads this\n', { mode: 0o600 });
    await tree.symlink('blob', '/srv/link');
    await change(tree);
  }
  const storePath = path.join(folder, 'store');
  const store = await openStore(storePath);
  return { store, storePath, buildId: (await publishImage(store, image)).id, blob };
}

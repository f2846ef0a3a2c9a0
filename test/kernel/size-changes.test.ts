/** What the kernel makes of disks that were given another size: it mounts them, reads every file, writes, and leaves them sound. */
import { lstat, mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import { expect, it } from 'vitest';
import {
  attach,
  copyDeviceToFile,
  createOverlay,
  type Device,
  ext4,
  type FileDigest,
  type OverlayDevice,
  openFileDevice,
  openTree,
} from '../../lib/index.js';
import { rebuildDisk } from '../../lib/rootfs/rebuild.js';
import { resizeDisk } from '../../lib/rootfs/resize.js';
import { seededRandom } from '../helpers/random.js';
import { makeScratch } from '../helpers/temporary.js';
import { verityDigest } from '../helpers/verity-digest.js';
import { makeRandomImage, type Profile } from '../property/random-image.js';

const MIB = 1024 ** 2;

interface Change {
  name: string;
  profile: Profile;
  /** Gives the disk its new size: itself, or a new one in its place. */
  apply(disk: OverlayDevice, folder: string): Promise<OverlayDevice>;
}

function resizeTo(size: number): Change['apply'] {
  return async (disk, scratchFolder) => {
    await resizeDisk(disk, { size }, { scratchFolder });
    return disk;
  };
}

const rebuild: Change['apply'] = async (disk, folder) => {
  const upperPath = path.join(folder, 'rebuilt');
  const { overlay } = await rebuildDisk(disk, { free: 40 * MIB }, { upperPath, scratchFolder: folder });
  return overlay;
};

const CHANGES: Change[] = [
  { name: 'our disk that grew', profile: 'ours', apply: resizeTo(700 * MIB) },
  { name: "a distribution's disk that grew", profile: '-t ext4', apply: resizeTo(3000 * MIB) },
  { name: 'a disk that shrank', profile: '-t ext4 -O ^flex_bg', apply: resizeTo(64 * MIB) },
  { name: 'our disk, rebuilt', profile: 'ours', apply: rebuild },
  { name: 'an ext3 disk, rebuilt', profile: '-t ext3', apply: rebuild },
];

async function digestsOf(device: Device): Promise<FileDigest[]> {
  await using tree = await openTree(device, { isolation: 'none' });
  const files: FileDigest[] = [];
  for await (const file of tree.digest('/')) files.push(file);
  return files;
}

/** Reads a file through the kernel, and gives what the library says of it. */
async function expectSame(mountPoint: string, file: FileDigest): Promise<void> {
  const name = path.join(mountPoint, file.path);
  const { mode, uid, gid, nlink, size, mtimeNs } = await lstat(name, { bigint: true });
  expect({
    ...{ path: file.path, mode: Number(mode) & 0o7777, uid: Number(uid), gid: Number(gid) },
    ...{ linkCount: Number(nlink), mtimeNs },
  }).toEqual({
    ...{ path: file.path, mode: file.mode, uid: file.uid, gid: file.gid },
    ...{ linkCount: file.linkCount, mtimeNs: file.mtimeNs },
  });
  if (file.type !== 'file') return;
  expect(Number(size)).toBe(file.size);
  expect(verityDigest(await readFile(name))).toBe(file.contentDigest);
}

it.each(CHANGES)('the kernel reads and writes $name', async ({ profile, apply }) => {
  const folder = await makeScratch();
  const mountPoint = path.join(folder, 'mount');
  await mkdir(mountPoint);
  await makeRandomImage(path.join(folder, 'image'), seededRandom(), profile);
  await using image = await openFileDevice(path.join(folder, 'image'));
  const files = await digestsOf(image);
  await using disk = await createOverlay(image, { upperPath: path.join(folder, 'upper') });
  await using changed = await apply(disk, folder);
  {
    const { blockSize } = await ext4.stats(changed);
    await using attachment = await attach(changed, { blockSize });
    await execa('mount', [attachment.path, mountPoint]);
    try {
      for (const file of files) await expectSame(mountPoint, file);
      for (let written = 0; written < 20; written += 1) {
        await writeFile(path.join(mountPoint, `new-${written}`), Buffer.alloc(written * 40_000, written));
      }
    } finally {
      await execa('umount', [mountPoint]);
    }
  }
  const raw = path.join(folder, 'raw');
  await copyDeviceToFile(changed, raw);
  const { exitCode, stdout } = await execa('e2fsck', ['-fn', raw], { reject: false });
  expect({ exitCode, stdout }).toMatchObject({ exitCode: 0 });
  const after = new Map((await digestsOf(changed)).map((file) => [file.path, file]));
  for (const { path: name, contentDigest } of files) {
    expect(after.get(name)?.contentDigest).toBe(contentDigest);
  }
  expect(after.get('/new-19')).toMatchObject({ size: 760_000 });
});

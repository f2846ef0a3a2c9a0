/** What a new filesystem is like, as an input of the layer hash: read off one, so that no change of the profile goes unnoticed. */
import { createMemoryDevice } from '../native/device.js';
import { ext4 } from '../native/ext4.js';
import { SMALLEST_DISK_BYTES } from '../rootfs/disk-request.js';
import { digestBytes } from '../util/digest.js';

const SUPERBLOCK_OFFSET_BYTES = 1024;
const SUPERBLOCK_BYTES = 1024;

const NO_UUID = '00000000-0000-8000-8000-000000000000';

let digest: Promise<string> | undefined;

async function digestSample(): Promise<string> {
  await using device = createMemoryDevice({ size: SMALLEST_DISK_BYTES });
  await ext4.mkfs(device, { uuid: NO_UUID, hashSeed: NO_UUID, time: 1 });
  return digestBytes(await device.read(SUPERBLOCK_OFFSET_BYTES, SUPERBLOCK_BYTES));
}

/** SHA-256 of the superblock of a sample: features, ratios, and everything else that `ext4.mkfs` decides. */
export function filesystemProfile(): Promise<string> {
  digest ??= digestSample();
  return digest;
}

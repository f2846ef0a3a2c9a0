/** The judgement of the distribution's own e2fsck. */
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import { copyDeviceToFile } from '../../lib/native/device.js';
import { openRootfs } from '../../lib/rootfs/rootfs.js';
import type { Store } from '../../lib/storage/store.js';

/** Exports a build's disk raw into `folder`, and gives what `e2fsck -fn` says of it; `exitCode` 0 is clean. */
export async function checkWithStockTool(
  store: Store,
  buildId: string,
  folder: string,
): Promise<{ exitCode: number | undefined; output: string }> {
  const image = path.join(folder, `${buildId}.img`);
  try {
    await using rootfs = await openRootfs(store, buildId);
    await copyDeviceToFile(rootfs.device, image);
    const { exitCode, stdout } = await execa('e2fsck', ['-fn', image], { reject: false });
    return { exitCode, output: stdout };
  } finally {
    await rm(image, { force: true });
  }
}

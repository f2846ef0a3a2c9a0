/** Disks that become builds: an overlay to attach, what it is sealed into, and the chain that is read back. */
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { openChain, type SealReport, sealOverlay } from '../../../lib/native/chain.js';
import type { Device } from '../../../lib/native/device.js';
import type { OverlayDevice } from '../../../lib/native/overlay.js';
import { makeScratch } from '../../helpers/temporary.js';

export interface SealedDisk {
  buildId: string;
  diffPath: string;
  headerPath: string;
  report: SealReport;
}

export async function seal(overlay: OverlayDevice): Promise<SealedDisk> {
  const folder = await makeScratch();
  const files = { diffPath: path.join(folder, 'diff'), headerPath: path.join(folder, 'header') };
  const buildId = randomUUID();
  return { buildId, ...files, report: await sealOverlay(overlay, { buildId, ...files }) };
}

export async function reopen({ buildId, diffPath, headerPath }: SealedDisk): Promise<Device> {
  const header = await readFile(headerPath);
  return openChain({ header, diffs: { [buildId]: { path: diffPath } } });
}

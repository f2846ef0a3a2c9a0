/**
 * An OCI image of a Debian that lacks nothing: provisioning it installs no package, and so needs no network and little time. Made
 * once and kept in build/fixtures.
 */
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { DISTRIBUTION_FAMILIES } from '../../lib/rootfs/provisioning/distribution.js';
import { digestJson } from '../../lib/util/digest.js';
import { withFileLock } from '../../lib/util/file-lock.js';
import { statIfThere } from '../../lib/util/lookup.js';

const FIXTURES = fileURLToPath(new URL('../../build/fixtures', import.meta.url));
const SUITE = 'bookworm';

/** How long the first call may take: it downloads and unpacks some 80 MB of packages. */
export const FULL_IMAGE_TIMEOUT_MS = 600_000;

function packages(): string[] {
  const family = DISTRIBUTION_FAMILIES.find(({ name }) => name === 'debian');
  if (family === undefined) throw new Error('There is no debian family any more');
  return [...family.packages, family.agentPackage];
}

/** The reference of the image. */
export async function fullImage(): Promise<string> {
  await mkdir(FIXTURES, { recursive: true });
  const folder = path.join(FIXTURES, `full-${digestJson([SUITE, ...packages()]).slice(0, 12)}`);
  await withFileLock(path.join(FIXTURES, 'full-lock'), undefined, async () => {
    if ((await statIfThere(folder)) === undefined) await makeImage(folder);
  });
  return `oci:${folder}/image:debian`;
}

async function makeImage(folder: string): Promise<void> {
  const making = await mkdtemp(path.join(FIXTURES, 'making-'));
  try {
    const [tar, image] = [path.join(making, 'root.tar'), path.join(making, 'image')];
    const included = `--include=${packages().join(',')}`;
    await execa('mmdebstrap', ['--quiet', '--variant=minbase', included, SUITE, tar]);
    await execa('umoci', ['init', '--layout', image]);
    await execa('umoci', ['new', '--image', `${image}:debian`]);
    await execa('umoci', ['raw', 'add-layer', '--image', `${image}:debian`, tar]);
    await rm(tar);
    await rename(making, folder);
  } catch (error) {
    await rm(making, { recursive: true, force: true });
    throw error;
  }
}

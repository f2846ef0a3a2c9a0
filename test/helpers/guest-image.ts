/** A Debian guest to boot in tests: systemd and the guest agent, in an ext4 image made once and kept in build/fixtures. */
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { digestJson } from '../../lib/util/digest.js';
import { withFileLock } from '../../lib/util/file-lock.js';
import { statIfThere } from '../../lib/util/lookup.js';

const FIXTURES = fileURLToPath(new URL('../../build/fixtures', import.meta.url));
const SUITE = 'bookworm';
const PACKAGES = ['systemd', 'systemd-sysv', 'udev', 'qemu-guest-agent'];
const SIZE = '1G';

/** How long the first call may take: it downloads and unpacks some 50 MB of packages. */
export const GUEST_IMAGE_TIMEOUT_MS = 600_000;

/** The path of the image, which is shared: put an overlay on it. */
export async function guestImage(): Promise<string> {
  await mkdir(FIXTURES, { recursive: true });
  const recipe = digestJson([SUITE, PACKAGES, SIZE]).slice(0, 12);
  const image = path.join(FIXTURES, `guest-${recipe}.ext4`);
  await withFileLock(path.join(FIXTURES, 'guest-lock'), undefined, async () => {
    if ((await statIfThere(image)) === undefined) await makeImage(image);
  });
  return image;
}

async function makeImage(image: string): Promise<void> {
  const folder = await mkdtemp(path.join(tmpdir(), 'rootloom-guest-'));
  try {
    const packages = `--include=${PACKAGES.join(',')}`;
    await execa('mmdebstrap', ['--quiet', '--variant=minbase', packages, SUITE, `${folder}/root.tar`]);
    const script = 'mkdir root && tar -xpf root.tar -C root && mke2fs -q -F -t ext4 -d root "$1" "$2"';
    const shell = ['sh', '-c', script, 'sh', `${image}.new`, SIZE];
    // Without root, fakeroot lets tar and mke2fs agree on owners and device nodes.
    const [program = '', ...args] = process.getuid?.() === 0 ? shell : ['fakeroot', '--', ...shell];
    await execa(program, args, { cwd: folder, env: { PATH: `${process.env.PATH}:/usr/sbin:/sbin` } });
    await rename(`${image}.new`, image);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

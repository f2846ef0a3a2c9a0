import { mkdir, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { RootloomError } from '../../../lib/errors.js';
import { unpackKernelPackage } from '../../../lib/vm/kernel-source.js';
import { makeScratch } from '../../helpers/temporary.js';

const CONTROL = `Package: linux-image-test
Version: 1
Architecture: amd64
Maintainer: nobody <nobody@example.org>
Description: a kernel of no bytes
`;

/** A package whose lib is a link that leads nowhere. */
async function makeOddPackage(folder: string): Promise<string> {
  const root = path.join(folder, 'root');
  await mkdir(path.join(root, 'DEBIAN'), { recursive: true });
  await mkdir(path.join(root, 'boot'));
  await writeFile(path.join(root, 'DEBIAN', 'control'), CONTROL);
  await writeFile(path.join(root, 'boot', 'vmlinuz-1'), '');
  await symlink('nowhere', path.join(root, 'lib'));
  const deb = path.join(folder, 'odd.deb');
  await execa('dpkg-deb', ['--root-owner-group', '-b', root, deb]);
  return deb;
}

test('unpackKernelPackage gives errors of the system as RootloomError', async () => {
  const folder = await makeScratch();
  const deb = await makeOddPackage(folder);
  for (const [work, code, name] of [
    ['work', 'IO', 'work/package/lib'],
    ['work', 'IO', 'work/package'],
    ['missing', 'NOT_FOUND', 'missing/package'],
  ] as const) {
    if (name === 'work/package/lib') await mkdir(path.join(folder, work));
    const failure = await unpackKernelPackage(deb, path.join(folder, work)).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(RootloomError);
    expect(failure).toMatchObject({ code, context: { path: path.join(folder, name) } });
  }
});

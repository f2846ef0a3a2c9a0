/** compareTrees: every way in which two trees can differ. */
import { expect, it } from 'vitest';
import type { Ext4Tree } from '../../../lib/native/ext4-tree.js';
import { compareTrees } from '../../../lib/native/ext4-tree-compare.js';
import { collect, debugfs, scratchFolder, TestImage } from './tree-testing.js';

async function fill(tree: Ext4Tree): Promise<void> {
  await tree.mkdir('/d/sub', { recursive: true });
  for (const name of ['a', 'd/b', 'd/sub/c', 'd.x', 'd-x']) await tree.writeFile(name, `content of ${name}`);
  await tree.link('/a', '/d/linked');
  await tree.symlink('a', '/link');
  await tree.mknod('/null', { type: 'character-device', major: 1, minor: 3 });
  await tree.setXattr('/a', 'user.x', 'y');
}

/** Fills two images, changes the second, and gives what differs as `path: aspects`. */
async function differences(change: (tree: Ext4Tree) => Promise<void>, options = {}): Promise<string[]> {
  using folder = scratchFolder();
  await using first = await TestImage.create(folder.path, { name: 'first' });
  await using second = await TestImage.create(folder.path, { name: 'second' });
  await Promise.all([fill(first.tree), fill(second.tree)]);
  await change(second.tree);
  const found = await collect(compareTrees(first.tree, second.tree, options));
  return found.map(({ path, what }) => `${path}: ${what.join(' ')}`);
}

it('compareTrees finds nothing in equal trees', async () => {
  expect(await differences(async () => {})).toEqual([]);
});

it.each<[string, (tree: Ext4Tree) => Promise<void>, string[]]>([
  ['content', (tree) => tree.writeFile('/d/b', 'CONTENT of d/b'), ['/d/b: content']],
  ['mode', (tree) => tree.chmod('/d/b', 0o600), ['/d/b: mode']],
  ['owner', (tree) => tree.chown('/d', { gid: 7 }), ['/d: owner']],
  ['mtime', (tree) => tree.utimes('/d/sub', { mtimeNs: 1n }), ['/d/sub: mtime']],
  ['xattrs', (tree) => tree.setXattr('/a', 'user.x', 'z'), ['/a: xattrs', '/d/linked: xattrs']],
  ['target', (tree) => tree.symlink('b', '/link', { replace: true }), ['/link: target']],
  [
    'links',
    async (tree) => {
      await tree.remove('/d/linked');
      await tree.writeFile('/d/linked', 'content of a');
      await tree.setXattr('/d/linked', 'user.x', 'y');
    },
    ['/a: links', '/d/linked: links'],
  ],
  [
    'type and device',
    async (tree) => {
      await tree.remove('/null');
      await tree.mknod('/null', { type: 'character-device', major: 1, minor: 5 });
      await tree.remove('/link');
      await tree.mkdir('/link');
    },
    ['/link: type', '/null: device'],
  ],
  [
    'files that only one has, in the order of a walk',
    async (tree) => {
      await tree.remove('/d', { recursive: true });
      await tree.writeFile('/b', 'new');
      await tree.writeFile('/zz', 'new');
    },
    [
      '/a: links',
      '/b: only-in-second',
      '/d: only-in-first',
      '/d/b: only-in-first',
      '/d/linked: only-in-first',
      '/d/sub: only-in-first',
      '/d/sub/c: only-in-first',
      '/zz: only-in-second',
    ],
  ],
])('compareTrees finds %s', async (_, change, expected) => {
  const found = await differences(change);
  // The root's link count and time go with what is put into it.
  expect(found.filter((line) => !line.startsWith('/: '))).toEqual(expected);
});

it('compareTrees finds holes and, when asked, times of access', async () => {
  using folder = scratchFolder();
  await using first = await TestImage.create(folder.path, { name: 'first' });
  await using second = await TestImage.create(folder.path, { name: 'second' });
  const compare = (options = {}) =>
    collect(compareTrees(first.tree, second.tree, { path: '/f', ...options }));
  await first.tree.writeFile('/f', Buffer.alloc(8192));
  await second.tree.writeFile('/f', Buffer.alloc(8192, 'x'));
  await second.tree.flush();
  expect(await compare()).toEqual([{ path: '/f', what: ['content', 'holes'] }]);
  // Zeros behind the tree's back: the blocks stay, their content becomes that of holes.
  const firstBlock = Number(debugfs(second.path, 'blocks /f').trim().split(' ')[0]);
  await second.device.write(firstBlock * 4096, Buffer.alloc(8192));
  expect(await compare()).toEqual([{ path: '/f', what: ['holes'] }]);
  await first.tree.writeFile('/f', '', { replace: true });
  await second.tree.writeFile('/f', '', { replace: true, atimeNs: 1n });
  expect(await compare()).toEqual([]);
  expect(await compare({ atime: true })).toEqual([{ path: '/f', what: ['atime'] }]);
});

it('compareTrees rejects with the reason of its signal', async () => {
  const signal = AbortSignal.abort(new Error('enough'));
  await expect(differences(async () => {}, { signal })).rejects.toThrow('enough');
});

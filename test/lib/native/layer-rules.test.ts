/** What a layer does to the layers below: whiteouts, replacement, links, and paths that try to leave the image. */
import { describe, expect, it } from 'vitest';
import { layerFile, type TarEntry } from './tar-testing.js';
import { factsOf, paths, scratchFolder, TestImage } from './tree-testing.js';

/** Applies layers one after the other, checks the image, and hands the tree over in between. */
async function withLayers(layers: TarEntry[][], look: (image: TestImage) => Promise<void>): Promise<void> {
  using folder = scratchFolder();
  const image = await TestImage.create(folder.path);
  for (const layer of layers) await image.tree.applyLayer(layerFile(folder.path, layer));
  await look(image);
  await image.closeAndCheck();
}

const text = async (image: TestImage, file: string) => (await image.tree.readFile(file)).toString();
const directory = (name: string, more: Partial<TarEntry> = {}): TarEntry => ({ name, type: '5', ...more });

describe('whiteouts', () => {
  it('remove files and whole directories of lower layers', async () => {
    const lower = [
      directory('a/'),
      { name: 'a/file', data: 'x' },
      directory('b/'),
      directory('b/deep/'),
      { name: 'b/deep/file' },
    ];
    const upper = [{ name: 'a/.wh.file' }, { name: '.wh.b' }];
    await withLayers([lower, upper], async (image) => expect(await paths(image.tree)).toEqual(['/a']));
  });

  it('of what does not exist do nothing, and make no directories', async () => {
    const upper = [{ name: 'no/such/.wh.file' }, { name: '.wh.nothing' }, { name: 'file/.wh.below-a-file' }];
    await withLayers([[{ name: 'file' }], upper], async (image) =>
      expect(await paths(image.tree)).toEqual(['/file']),
    );
  });

  it('leave what the same layer brings, whichever comes first', async () => {
    const lower = [directory('d/', { mode: 0o700 }), { name: 'd/old' }, { name: 'f', data: 'old' }];
    for (const order of ['before', 'after']) {
      const brought = [directory('d/', { mode: 0o711 }), { name: 'd/new' }, { name: 'f', data: 'new' }];
      const marks = [{ name: '.wh.d' }, { name: '.wh.f' }];
      const upper = order === 'before' ? [...marks, ...brought] : [...brought, ...marks];
      await withLayers([lower, upper], async (image) => {
        expect(await paths(image.tree)).toEqual(['/d', '/d/new', '/f']);
        expect((await image.tree.stat('/d')).mode).toBe(0o711);
        expect(await text(image, '/f')).toBe('new');
      });
    }
  });

  it('leave a directory that the same layer only put something into', async () => {
    const lower = [directory('d/'), { name: 'd/old' }, directory('d/sub/'), { name: 'd/sub/old' }];
    const upper = [{ name: 'd/sub/new' }, { name: '.wh.d' }];
    await withLayers([lower, upper], async (image) =>
      expect(await paths(image.tree)).toEqual(['/d', '/d/sub', '/d/sub/new']),
    );
  });

  it('make way for a directory made again in a later layer', async () => {
    const layers = [
      [directory('d/'), { name: 'd/one' }],
      [{ name: '.wh.d' }],
      [directory('d/'), { name: 'd/two' }],
      [{ name: '.wh.d' }, directory('d/'), { name: 'd/three' }],
    ];
    await withLayers(layers, async (image) => expect(await paths(image.tree)).toEqual(['/d', '/d/three']));
  });

  it('follow directories that are symbolic links', async () => {
    const lower = [directory('real/'), { name: 'real/file' }, { name: 'link', type: '2', link: 'real' }];
    await withLayers([lower, [{ name: 'link/.wh.file' }]], async (image) =>
      expect(await paths(image.tree)).toEqual(['/link', '/real']),
    );
  });

  it('of an old union filesystem are left out, those without a name refused', async () => {
    await withLayers([[{ name: '.wh..wh.plnk', type: '5' }, { name: '.wh..wh.aufs' }]], async (image) =>
      expect(await paths(image.tree)).toEqual([]),
    );
    using folder = scratchFolder();
    for (const name of ['.wh.', 'd/.wh..', '.wh...']) {
      await using image = await TestImage.create(folder.path, { name: `image-${name.length}` });
      const applied = image.tree.applyLayer(layerFile(folder.path, [{ name }]));
      await expect(applied).rejects.toMatchObject({ code: 'CORRUPT', context: { path: name } });
    }
  });
});

describe('opaque directories', () => {
  const lower = [
    directory('d/'),
    { name: 'd/old' },
    directory('d/sub/'),
    { name: 'd/sub/old' },
    directory('d/gone/'),
    { name: 'd/gone/file' },
    { name: 'outside' },
  ];
  const mark = { name: 'd/.wh..wh..opq' };
  const brought = [directory('d/'), { name: 'd/new' }, directory('d/sub/'), { name: 'd/sub/new' }];

  it.each([
    ['listed first', [mark, ...brought]],
    ['listed last', [...brought, mark]],
    ['listed in between', [...brought.slice(0, 2), mark, ...brought.slice(2)]],
  ])('hide lower layers only, %s', async (_, upper) => {
    await withLayers([lower, upper], async (image) =>
      expect(await paths(image.tree)).toEqual(['/d', '/d/new', '/d/sub', '/d/sub/new', '/outside']),
    );
  });

  it('can be the root', async () => {
    await withLayers([lower, [{ name: 'new' }, { name: '.wh..wh..opq' }]], async (image) =>
      expect(await paths(image.tree)).toEqual(['/new']),
    );
  });
});

describe('replacement', () => {
  it('of a directory by a file, and of a file by a directory', async () => {
    const lower = [directory('d/'), { name: 'd/file' }, { name: 'f', data: 'file' }];
    const upper = [{ name: 'd', data: 'now a file' }, directory('f/'), { name: 'f/inside' }];
    await withLayers([lower, upper], async (image) => {
      expect(await paths(image.tree)).toEqual(['/d', '/f', '/f/inside']);
      expect(await text(image, '/d')).toBe('now a file');
    });
  });

  it('of a symbolic link never goes through it', async () => {
    const lower = [
      { name: 'target', data: 'untouched' },
      { name: 'to-file', type: '2', link: 'target' },
      directory('real/'),
      { name: 'to-directory', type: '2', link: 'real' },
    ];
    const upper = [{ name: 'to-file', data: 'new' }, directory('to-directory/'), { name: 'to-directory/x' }];
    await withLayers([lower, upper], async (image) => {
      expect(await text(image, '/target')).toBe('untouched');
      expect(await text(image, '/to-file')).toBe('new');
      expect(await image.tree.list('/real')).toEqual([]);
      expect((await image.tree.lstat('/to-directory')).type).toBe('directory');
    });
  });

  it('of a directory by a directory keeps what is in it, and takes over every attribute', async () => {
    const lower = [
      directory('d/', { mode: 0o700, uid: 5, mtime: 1000, pax: { 'SCHILY.xattr.user.a': 'lower' } }),
      { name: 'd/file' },
    ];
    const upper = [
      directory('d/', { mode: 0o755, gid: 6, mtime: 2000, pax: { 'SCHILY.xattr.user.b': 'upper' } }),
    ];
    await withLayers([lower, upper], async (image) => {
      expect(await paths(image.tree)).toEqual(['/d', '/d/file']);
      const stat = await image.tree.stat('/d');
      expect(stat).toMatchObject({ mode: 0o755, uid: 0, gid: 6, mtimeNs: 2_000_000_000_000n });
      expect(await image.tree.getXattrs('/d')).toEqual([{ name: 'user.b', value: Buffer.from('upper') }]);
    });
  });

  it('within one layer: the last of equal names wins', async () => {
    const layer = [
      { name: 'f', data: 'first' },
      { name: 'other', type: '1', link: 'f' },
      { name: './f', data: 'second' },
      directory('d/'),
      { name: 'd/file' },
      { name: 'd', data: 'a file in the end' },
    ];
    await withLayers([layer], async (image) => {
      expect(await paths(image.tree)).toEqual(['/d', '/f', '/other']);
      expect(await text(image, '/f')).toBe('second');
      expect(await text(image, '/other')).toBe('first');
    });
  });
});

describe('hard links', () => {
  it('keep the file when a later layer removes or replaces their target', async () => {
    const lower = [
      { name: 'a', data: 'content' },
      { name: 'b', type: '1', link: 'a' },
      { name: 'c', type: '1', link: './a' },
    ];
    await withLayers([lower, [{ name: '.wh.a' }]], async (image) => {
      expect(await text(image, '/b')).toBe('content');
      expect((await image.tree.stat('/c')).linkCount).toBe(2);
    });
    await withLayers([lower, [{ name: 'a', data: 'replaced' }]], async (image) => {
      expect(await text(image, '/a')).toBe('replaced');
      expect(await text(image, '/b')).toBe('content');
      expect((await image.tree.stat('/a')).linkCount).toBe(1);
    });
  });

  it('to a file of a lower layer share its inode', async () => {
    const layers = [[{ name: 'a', data: 'x' }], [{ name: 'b', type: '1', link: '/a' }]];
    await withLayers(layers, async (image) => {
      const [a, b] = await Promise.all([image.tree.stat('/a'), image.tree.stat('/b')]);
      expect(a.inode).toBe(b.inode);
      expect(a.linkCount).toBe(2);
    });
  });

  it('to a symbolic link lead to the link itself', async () => {
    const layer = [
      { name: 'link', type: '2', link: 'nowhere' },
      { name: 'again', type: '1', link: 'link' },
    ];
    await withLayers([layer], async (image) => {
      expect(await image.tree.readlink('/again')).toEqual({ target: 'nowhere' });
      expect((await image.tree.lstat('/again')).linkCount).toBe(2);
    });
  });

  it('get missing parents, 0755 and root', async () => {
    const layer = [{ name: 'a' }, { name: 'x/y/b', type: '1', link: 'a' }];
    await withLayers([layer], async (image) => {
      expect(await paths(image.tree)).toEqual(['/a', '/x', '/x/y', '/x/y/b']);
      expect(await image.tree.stat('/x/y')).toMatchObject({ mode: 0o755, uid: 0, gid: 0 });
    });
  });

  it('to themselves, or listed twice, change nothing', async () => {
    const again = { name: 'b', type: '1', link: 'a' };
    const layer = [{ name: 'a', data: 'x' }, again, again, { name: 'a', type: '1', link: 'a' }];
    await withLayers([layer], async (image) => expect((await image.tree.stat('/a')).linkCount).toBe(2));
  });

  it.each([
    ['nothing', [{ name: 'b', type: '1', link: 'missing' }]],
    ['a directory', [directory('d/'), { name: 'b', type: '1', link: 'd' }]],
  ])('to %s are CORRUPT', async (_, layer) => {
    using folder = scratchFolder();
    await using image = await TestImage.create(folder.path);
    const applied = image.tree.applyLayer(layerFile(folder.path, layer));
    await expect(applied).rejects.toMatchObject({ code: 'CORRUPT', context: { path: 'b' } });
  });
});

describe('paths', () => {
  it('land inside the image, whatever they look like', async () => {
    const layer = [
      { name: '../../up', data: '1' },
      { name: '/absolute', data: '2' },
      { name: 'a/b/../../../../c', data: '3' },
      { name: './/x//./y', data: '4' },
    ];
    await withLayers([layer], async (image) =>
      expect(await paths(image.tree)).toEqual(['/absolute', '/c', '/up', '/x', '/x/y']),
    );
  });

  it('through symbolic links stay inside the image', async () => {
    const layer = [
      { name: 'out', type: '2', link: '../../../../../../' },
      { name: 'out/tmp/one' },
      { name: 'absolute', type: '2', link: '/not/there' },
      { name: 'absolute/two' },
      { name: 'parent', type: '2', link: '..' },
      { name: 'parent/three' },
      { name: 'linked', type: '1', link: 'out/tmp/one' },
    ];
    await withLayers([layer], async (image) =>
      expect(await paths(image.tree)).toEqual([
        '/absolute',
        '/linked',
        '/not',
        '/not/there',
        '/not/there/two',
        '/out',
        '/parent',
        '/three',
        '/tmp',
        '/tmp/one',
      ]),
    );
  });

  it('through a loop of symbolic links are INVALID_ARGUMENT with ELOOP, through a file with ENOTDIR', async () => {
    using folder = scratchFolder();
    const loop = [
      { name: 'a', type: '2', link: 'b' },
      { name: 'b', type: '2', link: 'a' },
      { name: 'a/file' },
    ];
    await using first = await TestImage.create(folder.path, { name: 'first' });
    await expect(first.tree.applyLayer(layerFile(folder.path, loop))).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      context: { errno: 40, path: 'a/file' },
    });
    await using second = await TestImage.create(folder.path, { name: 'second' });
    const below = layerFile(folder.path, [{ name: 'f' }, { name: 'f/x' }]);
    await expect(second.tree.applyLayer(below)).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      context: { errno: 20, path: 'f/x' },
    });
  });

  it('name the root as "." or "/" or "", which must be a directory', async () => {
    await withLayers([[directory('./', { mode: 0o711, uid: 7, mtime: 1234 })]], async (image) => {
      expect(await image.tree.stat('/')).toMatchObject({ mode: 0o711, uid: 7, mtimeNs: 1_234_000_000_000n });
    });
    using folder = scratchFolder();
    await using image = await TestImage.create(folder.path);
    const applied = image.tree.applyLayer(layerFile(folder.path, [{ name: '..', data: 'x' }]));
    await expect(applied).rejects.toMatchObject({ code: 'CORRUPT' });
  });

  it('without their parents get them, 0755 and root, whatever the umask', async () => {
    const before = process.umask(0o077);
    try {
      await withLayers([[{ name: 'a/b/c' }]], async (image) => {
        expect(await image.tree.stat('/a/b')).toMatchObject({
          type: 'directory',
          mode: 0o755,
          uid: 0,
          gid: 0,
        });
      });
    } finally {
      process.umask(before);
    }
  });
});

describe('times', () => {
  it('of directories are those of the last layer that names them, and not of what is put into them', async () => {
    const layers = [
      [
        directory('d/', { mtime: 1000 }),
        { name: 'd/a', mtime: 50 },
        directory('e/', { mtime: 3000 }),
        { name: 'e/x' },
      ],
      [
        { name: 'd/b' },
        { name: 'd/.wh.a' },
        directory('e/', { mtime: 4000 }),
        { name: 'e/.wh.x' },
        { name: 'e/y' },
      ],
    ];
    await withLayers(layers, async (image) => {
      expect((await image.tree.stat('/d')).mtimeNs).toBe(1_000_000_000_000n);
      expect((await image.tree.stat('/e')).mtimeNs).toBe(4_000_000_000_000n);
    });
  });

  it('have nanoseconds, lie before 1970 and after 2038, and a time of access when the archive has one', async () => {
    const layer = [
      { name: 'a', pax: { mtime: '1600000000.123456789', atime: '1500000000.5' } },
      { name: 'b', pax: { mtime: '-1.5' } },
      { name: 'c', pax: { mtime: '10000000000.000000001' } },
    ];
    await withLayers([layer], async (image) => {
      const facts = await Promise.all(['/a', '/b', '/c'].map((file) => image.tree.stat(file)));
      expect(facts.map((stat) => stat.mtimeNs)).toEqual([
        1_600_000_000_123_456_789n,
        -1_500_000_000n,
        10_000_000_000_000_000_001n,
      ]);
      expect(facts[0]?.atimeNs).toBe(1_500_000_000_500_000_000n);
      expect(facts[1]?.atimeNs).toBe(-1_500_000_000n);
    });
  });
});

it('Ext4Tree.applyLayer gives equal bytes for equal inputs', async () => {
  using folder = scratchFolder();
  const files = Array.from({ length: 300 }, (_, i) => ({ name: `d/file-${i}`, data: `content ${i}` }));
  const layers = [
    [directory('d/'), ...files],
    [{ name: 'd/.wh.file-7' }, { name: 'd/file-8', data: 'new' }],
  ].map((layer) => layerFile(folder.path, layer));
  const digests = [];
  for (const name of ['one', 'two']) {
    const image = await TestImage.create(folder.path, { name });
    for (const layer of layers) await image.tree.applyLayer(layer);
    expect((await factsOf(image.tree)).size).toBe(300);
    await image.closeAndCheck();
    const { createHash } = await import('node:crypto');
    const { readFileSync } = await import('node:fs');
    digests.push(createHash('sha256').update(readFileSync(image.path)).digest('hex'));
  }
  expect(digests[0]).toBe(digests[1]);
});

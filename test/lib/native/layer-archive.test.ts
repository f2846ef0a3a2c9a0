/** What a layer's archive can look like: names, sizes, compression, damage. */
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import path from 'node:path';
import { constants, gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { ISOLATIONS, type Isolation } from '../../../lib/native/isolation.js';
import { verityDigest } from '../../helpers/verity-digest.js';
import { layerFile, type TarEntry, tar, tarEntry } from './tar-testing.js';
import { collect, MIB, paths, scratchFolder, TestImage } from './tree-testing.js';

const zstd = (content: Buffer) => execFileSync('zstd', ['-q', '-c'], { input: content, maxBuffer: 64 * MIB });
const diffId = (archive: Buffer) => `sha256:${createHash('sha256').update(archive).digest('hex')}`;

async function applied(folder: string, content: Buffer | TarEntry[], isolation: Isolation = 'none') {
  const image = await TestImage.create(folder, { isolation });
  const report = await image.tree.applyLayer(layerFile(folder, content));
  return { image, report };
}

describe('names', () => {
  it.each(ISOLATIONS)(
    'stay the bytes that they are: NFD, NFC, not UTF-8, in ustar, pax and GNU headers (isolation %s)',
    async (isolation) => {
      using folder = scratchFolder();
      const nfd = Buffer.from('e\u0301-nfd');
      const nfc = Buffer.from('\u00e9-nfc');
      const invalid = Buffer.from([0x66, 0xff, 0xfe, 0xc3, 0x28]);
      const long = Buffer.concat([Buffer.from(`${'x'.repeat(120)}-`), nfd, invalid]);
      const gnuLong = [{ name: '././@LongLink', type: 'L', data: Buffer.concat([long, Buffer.from('\0')]) }];
      const entries = [
        { name: nfd },
        { name: nfc },
        { name: invalid },
        { name: 'pax', pax: { path: Buffer.concat([Buffer.from('pax-'), nfd]) } },
        { name: 'pax', pax: { path: Buffer.concat([Buffer.from('pax-'), nfc]) } },
        { name: 'pax', pax: { path: Buffer.concat([Buffer.from('pax-'), invalid]) } },
        {
          name: 'pax',
          pax: { hdrcharset: 'BINARY', path: Buffer.concat([Buffer.from('binary-'), invalid]) },
        },
        { name: 'link', type: '2', pax: { linkpath: Buffer.concat([nfd, invalid]) } },
        { name: 'hard', type: '1', pax: { linkpath: invalid } },
        ...gnuLong,
        { name: 'cut' },
      ];
      const { image } = await applied(folder.path, entries, isolation);
      const files = await image.tree.list('/');
      const names = files.map((file) => (file.nameBytes ?? Buffer.from(file.name)).toString('latin1'));
      const prefixed = (prefix: string, ...parts: Buffer[]) =>
        prefix + Buffer.concat(parts).toString('latin1');
      expect(names.filter((name) => name !== 'lost+found').sort()).toEqual(
        [
          prefixed('', nfd),
          prefixed('', nfc),
          prefixed('', invalid),
          prefixed('pax-', nfd),
          prefixed('pax-', nfc),
          prefixed('pax-', invalid),
          prefixed('binary-', invalid),
          prefixed('', long),
          'hard',
          'link',
        ].sort(),
      );
      const { targetBytes } = await image.tree.readlink('/link');
      expect(targetBytes).toEqual(Buffer.concat([nfd, invalid]));
      expect((await image.tree.stat(Buffer.concat([Buffer.from('/'), invalid]))).type).toBe('file');
      await image.closeAndCheck();
    },
  );

  it('have up to 255 bytes a component, and paths more than 4096', async () => {
    using folder = scratchFolder();
    const deep = Array.from({ length: 20 }, (_, i) => String(i).padEnd(255, 'n')).join('/');
    const { image } = await applied(folder.path, [{ name: 'x', pax: { path: `${deep}/file` } }]);
    expect((await collect(image.tree.walk())).at(-1)?.path).toBe(`/lost+found`);
    expect((await image.tree.stat(`/${deep}/file`)).type).toBe('file');
    await image.closeAndCheck();
  });

  it.each([
    ['a file', { name: 'x', data: 'content', pax: { path: 'n'.repeat(256) } }],
    ['a directory on the way', { name: 'x', pax: { path: `${'n'.repeat(256)}/file` } }],
  ])('over 255 bytes are INVALID_ARGUMENT with ENAMETOOLONG: %s', async (_, entry) => {
    using folder = scratchFolder();
    await using image = await TestImage.create(folder.path);
    const applying = image.tree.applyLayer(layerFile(folder.path, [entry]));
    await expect(applying).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', context: { errno: 36 } });
  });

  it('of symbolic links: up to 4095 bytes', async () => {
    using folder = scratchFolder();
    const targets = [59, 60, 61, 4095].map((length) => 't'.repeat(length));
    const links = targets.map((linkpath, i) => ({ name: `link-${i}`, type: '2', pax: { linkpath } }));
    const { image } = await applied(folder.path, links);
    const read = await Promise.all(links.map(({ name }) => image.tree.readlink(name)));
    expect(read.map(({ target }) => target)).toEqual(targets);
    await image.closeAndCheck();
    await using second = await TestImage.create(folder.path, { name: 'second' });
    const tooLong = layerFile(folder.path, [
      { name: 'link', type: '2', pax: { linkpath: 't'.repeat(4096) } },
    ]);
    await expect(second.tree.applyLayer(tooLong)).rejects.toMatchObject({ context: { errno: 36 } });
  });
});

describe('compression', () => {
  const archive = tar([{ name: 'file', data: 'content' }]);
  const half = 700;
  it.each([
    ['none', archive],
    ['gzip', gzipSync(archive)],
    [
      'gzip of several members',
      Buffer.concat([gzipSync(archive.subarray(0, half)), gzipSync(archive.subarray(half))]),
    ],
    ['zstd', zstd(archive)],
    [
      'zstd of several frames',
      Buffer.concat([zstd(archive.subarray(0, half)), zstd(archive.subarray(half))]),
    ],
    [
      'zstd with a skippable frame at its end',
      Buffer.concat([zstd(archive), Buffer.from('502a4d1804000000deadbeef', 'hex')]),
    ],
  ])('%s is found by content, and the digest is that of the archive', async (_, blob) => {
    using folder = scratchFolder();
    const { image, report } = await applied(folder.path, blob);
    expect(report).toMatchObject({
      diffId: diffId(archive),
      blobBytes: blob.length,
      archiveBytes: archive.length,
      entryCount: 1,
    });
    expect((await image.tree.readFile('/file')).toString()).toBe('content');
    await image.closeAndCheck();
  });

  it('of what follows the end of the archive counts for the digest', async () => {
    using folder = scratchFolder();
    const padded = Buffer.concat([archive, Buffer.alloc(9000), Buffer.from('and more')]);
    const { image, report } = await applied(folder.path, gzipSync(padded));
    expect(report.diffId).toBe(diffId(padded));
    await image.closeAndCheck();
  });

  it('of an empty archive, with and without its end mark', async () => {
    using folder = scratchFolder();
    for (const empty of [tar([]), Buffer.alloc(0), gzipSync(Buffer.alloc(0)), gzipSync(tar([]))]) {
      await using image = await TestImage.create(folder.path, { name: `image-${empty.length}` });
      const report = await image.tree.applyLayer(layerFile(folder.path, empty));
      expect(report.entryCount).toBe(0);
      expect(await paths(image.tree)).toEqual([]);
    }
  });
});

describe('damage', () => {
  const archive = tar([{ name: 'a', data: 'x'.repeat(3000) }, { name: 'b' }]);
  const malformed = Buffer.from(archive);
  malformed.write('garbage!', 150);
  const paxWithoutKey = tar([{ name: 'pax', type: 'x', data: 'not a record' }, { name: 'file' }]);
  it.each([
    ['an archive cut inside a file', archive.subarray(0, 2000)],
    ['an archive cut inside a header', archive.subarray(0, 4000)],
    ['an archive cut inside a file, compressed', gzipSync(archive.subarray(0, 2000))],
    ['gzip cut inside its data', gzipSync(archive).subarray(0, 60)],
    ['gzip cut inside its trailer', gzipSync(archive).subarray(0, -3)],
    [
      'gzip cut inside its second member',
      Buffer.concat([gzipSync(archive), gzipSync(archive).subarray(0, 5)]),
    ],
    ['zstd cut inside its data', zstd(archive).subarray(0, 40)],
    ['gzip followed by something else', Buffer.concat([gzipSync(archive), Buffer.from('trailing garbage')])],
    ['zstd followed by something else', Buffer.concat([zstd(archive), Buffer.from('trailing garbage')])],
    ['what is no archive', Buffer.from('this is not a layer'.repeat(100))],
    ['a header with a wrong checksum', malformed],
    ['a pax header without records', paxWithoutKey],
    ['an owner beyond 32 bits', tar([{ name: 'a', pax: { uid: '4294967296' } }])],
  ])('is CORRUPT: %s', async (_, blob) => {
    using folder = scratchFolder();
    await using image = await TestImage.create(folder.path);
    const applying = image.tree.applyLayer(layerFile(folder.path, blob));
    await expect(applying).rejects.toMatchObject({ name: 'RootloomError', code: 'CORRUPT' });
  });

  it('found beyond the start leaves a tree that takes no more changes, found at the start leaves it as it was', async () => {
    using folder = scratchFolder();
    await using image = await TestImage.create(folder.path);
    const atStart = image.tree.applyLayer(layerFile(folder.path, Buffer.from('no archive'.repeat(100))));
    await expect(atStart).rejects.toMatchObject({ code: 'CORRUPT' });
    await image.tree.writeFile('/x', 'x');
    const beyond = image.tree.applyLayer(layerFile(folder.path, archive.subarray(0, 2000)));
    await expect(beyond).rejects.toMatchObject({ code: 'CORRUPT' });
    await expect(image.tree.writeFile('/y', 'y')).rejects.toMatchObject({ code: 'CORRUPT' });
  });

  it('of the digest is CORRUPT, and the right one is accepted', async () => {
    using folder = scratchFolder();
    const blob = layerFile(folder.path, gzipSync(archive));
    await using image = await TestImage.create(folder.path);
    await image.tree.applyLayer(blob, { diffId: diffId(archive) });
    const wrong = image.tree.applyLayer(blob, { diffId: diffId(Buffer.from('other')) });
    await expect(wrong).rejects.toMatchObject({ code: 'CORRUPT' });
  });

  it('of a missing blob is NOT_FOUND', async () => {
    using folder = scratchFolder();
    await using image = await TestImage.create(folder.path);
    const missing = path.join(folder.path, 'no-such-blob');
    await expect(image.tree.applyLayer(missing)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
});

describe('sizes', () => {
  it('of sparse files in every form that GNU tar writes keep content and holes', async () => {
    using folder = scratchFolder();
    const file = path.join(folder.path, 'sparse');
    const handle = openSync(file, 'w');
    writeSync(handle, Buffer.from('start'), 0, 5, 0);
    writeSync(handle, Buffer.alloc(8192, 'm'), 0, 8192, 5 * MIB + 4096);
    writeSync(handle, Buffer.from('end'), 0, 3, 40 * MIB + 1234);
    closeSync(handle);
    const forms = [
      ['--format=gnu', '--sparse'],
      ['--format=pax', '--sparse', '--sparse-version=0.0'],
      ['--format=pax', '--sparse', '--sparse-version=0.1'],
      ['--format=pax', '--sparse', '--sparse-version=1.0'],
      ['--format=gnu'], // Zeros written out: they become holes all the same.
    ];
    for (const [index, form] of forms.entries()) {
      const layer = path.join(folder.path, `layer-${index}`);
      execFileSync('tar', [...form, '-cf', layer, '-C', folder.path, 'sparse']);
      const image = await TestImage.create(folder.path, { name: `image-${index}` });
      await image.tree.applyLayer(layer);
      const [digest] = await collect(image.tree.digest('/sparse'));
      expect(digest).toMatchObject({
        size: 40 * MIB + 1237,
        contentDigest: verityDigest(readFileSync(file)),
        stored: [
          { offset: 0, length: 4096 },
          { offset: 5 * MIB + 4096, length: 8192 },
          { offset: 40 * MIB, length: 1237 },
        ],
      });
      await image.closeAndCheck();
    }
  });

  it('beyond 8 GiB in a pax header', async () => {
    using folder = scratchFolder();
    const size = 8 * 1024 * MIB + 5000;
    // The header says 0, as the octal field cannot hold it; then 8 GiB of zeros and an end.
    const head = tarEntry({ name: 'huge', size: 0, pax: { size: String(size) } });
    const tail = Buffer.alloc(5120, 'e').fill(0, 5000);
    const blob = path.join(folder.path, 'huge.tar.zst');
    const script = 'cat "$1"; head -c 8589934592 /dev/zero; cat "$2"; head -c 1024 /dev/zero';
    writeFileSync(path.join(folder.path, 'head'), head);
    writeFileSync(path.join(folder.path, 'tail'), tail);
    const made = spawnSync('sh', ['-c', `(${script}) | zstd -q -1 > "$3"`, 'sh', 'head', 'tail', blob], {
      cwd: folder.path,
    });
    expect(made.status).toBe(0);
    const image = await TestImage.create(folder.path);
    await image.tree.applyLayer(blob);
    expect(await image.tree.stat('/huge')).toMatchObject({ size, allocated: 8192 });
    const end = await image.tree.readFile('/huge', { offset: size - 5001 });
    expect(end).toEqual(Buffer.concat([Buffer.alloc(1), Buffer.alloc(5000, 'e')]));
    await image.closeAndCheck();
  }, 240_000);

  // Only the map of a sparse file can place content there.
  it.each([
    ['across', '0,8'],
    ['behind', '8192,8'],
    ['within and behind', '0,1,8192,7'],
  ])('smaller than the content are CORRUPT, with content %s the declared end', async (_, map) => {
    using folder = scratchFolder();
    await using image = await TestImage.create(folder.path);
    const numblocks = String(map.split(',').length / 2);
    const pax = { 'GNU.sparse.size': '7', 'GNU.sparse.numblocks': numblocks, 'GNU.sparse.map': map };
    const blob = layerFile(folder.path, [{ name: 'cut', data: '12345678', pax }]);
    await expect(image.tree.applyLayer(blob)).rejects.toMatchObject({
      code: 'CORRUPT',
      context: { path: 'cut' },
    });
    await expect(image.tree.mkdir('/x')).rejects.toMatchObject({ code: 'CORRUPT' });
  });

  it('beyond the image are NO_SPACE, and the tree takes no more changes', async () => {
    using folder = scratchFolder();
    await using image = await TestImage.create(folder.path, { size: 32 * MIB });
    const incompressible = Buffer.alloc(40 * MIB, 'not a zero ');
    const applying = image.tree.applyLayer(layerFile(folder.path, [{ name: 'big', data: incompressible }]));
    await expect(applying).rejects.toMatchObject({ code: 'NO_SPACE', context: { path: 'big' } });
    await expect(image.tree.mkdir('/x')).rejects.toMatchObject({ code: 'NO_SPACE' });
  });

  it('beyond the inodes of the image are NO_SPACE', async () => {
    using folder = scratchFolder();
    await using image = await TestImage.create(folder.path, { size: 16 * MIB });
    const files = Array.from({ length: 5000 }, (_, i) => ({ name: `file-${i}` }));
    const applying = image.tree.applyLayer(layerFile(folder.path, files));
    await expect(applying).rejects.toMatchObject({ code: 'NO_SPACE' });
  });
});

describe('cancellation', () => {
  it('rejects with the reason of the signal, and progress counts bytes of the blob', async () => {
    using folder = scratchFolder();
    const data = Buffer.alloc(MIB, 'some content ');
    const entries = Array.from({ length: 60 }, (_, i) => ({ name: `file-${i}`, data }));
    const blob = layerFile(folder.path, gzipSync(tar(entries), { level: constants.Z_NO_COMPRESSION }));
    await using image = await TestImage.create(folder.path, { size: 128 * MIB });
    const reason = new Error('enough');
    const abort = new AbortController();
    const seen: number[] = [];
    const applying = image.tree.applyLayer(blob, {
      signal: abort.signal,
      onProgress: ({ done, total }) => {
        expect(total).toBeGreaterThan(60 * MIB);
        seen.push(done);
        abort.abort(reason);
      },
    });
    await expect(applying).rejects.toBe(reason);
    expect(seen.length).toBeGreaterThan(0);
  });

  it('of a call that waits for its turn does not wait', async () => {
    using folder = scratchFolder();
    const data = Buffer.alloc(MIB, 'some content ');
    const entries = Array.from({ length: 60 }, (_, i) => ({ name: `file-${i}`, data }));
    const blob = layerFile(folder.path, entries);
    await using image = await TestImage.create(folder.path, { size: 128 * MIB });
    let finished = false;
    let begin = () => {};
    const begun = new Promise<void>((resolve) => {
      begin = resolve;
    });
    const applying = image.tree.applyLayer(blob, { onProgress: () => begin() }).then(() => {
      finished = true;
    });
    await begun;
    const waiting = image.tree.stat('/', { signal: AbortSignal.timeout(1) });
    await expect(waiting).rejects.toMatchObject({ name: 'TimeoutError' });
    expect(finished).toBe(false);
    await applying;
    expect((await image.tree.list('/')).length).toBe(61);
  });
});

/** Ext4Tree: reading and changing the files of an image, in this process and in a helper. */
import {
  closeSync,
  existsSync,
  openSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { openFileDevice } from '../../../lib/native/device.js';
import { type Ext4Tree, openTree } from '../../../lib/native/ext4-tree.js';
import { ISOLATIONS } from '../../../lib/native/isolation.js';
import {
  collect,
  debugfs,
  expectClean,
  factsOf,
  factsOfMount,
  IMAGE_TIME_NS,
  MIB,
  paths,
  run,
  scratchFolder,
  TestImage,
} from './tree-testing.js';

const errno = (number: number) => ({ code: 'INVALID_ARGUMENT', context: { errno: number } });
const EBUSY = 16;
const EEXIST = 17;
const ENOTDIR = 20;
const EISDIR = 21;
const EINVAL = 22;
const ENAMETOOLONG = 36;
const ENOTEMPTY = 39;
const ELOOP = 40;

describe.each(ISOLATIONS)('with isolation "%s"', (isolation) => {
  /** Changes an image, lets e2fsck and a kernel look at it, and opens it again for reading. */
  async function changed(
    change: (tree: Ext4Tree) => Promise<void>,
    look?: (tree: Ext4Tree) => Promise<void>,
  ) {
    using folder = scratchFolder();
    const image = await TestImage.create(folder.path, { isolation });
    await change(image.tree);
    await image.closeAndCheck();
    const device = await openFileDevice(image.path);
    const tree = await openTree(device, { isolation });
    await device.close();
    await look?.(tree);
    const facts = await factsOf(tree);
    await tree.close();
    expect(factsOfMount(image.path, folder.path, facts)).toEqual(facts);
  }

  describe('Ext4Tree.writeFile', () => {
    it('makes files, 0644 and root, stamped with the time of the tree', async () => {
      await changed(
        async (tree) => {
          await tree.writeFile('/a', 'text');
          await tree.writeFile('b', Buffer.from([0, 255]), {
            mode: 0o4711,
            uid: 1000,
            gid: 70000,
            mtimeNs: 5n,
          });
        },
        async (tree) => {
          expect((await tree.readFile('/a')).toString()).toBe('text');
          const times = { mtimeNs: IMAGE_TIME_NS, atimeNs: IMAGE_TIME_NS, ctimeNs: IMAGE_TIME_NS };
          expect(await tree.stat('/a')).toMatchObject({
            type: 'file',
            mode: 0o644,
            uid: 0,
            gid: 0,
            size: 4,
            allocated: 4096,
            linkCount: 1,
            birthtimeNs: IMAGE_TIME_NS,
            ...times,
          });
          expect(await tree.stat('/b')).toMatchObject({ mode: 0o4711, uid: 1000, gid: 70000, mtimeNs: 5n });
          expect(await tree.stat('/')).toMatchObject({ mtimeNs: IMAGE_TIME_NS });
        },
      );
    });

    it('gives a file new content and keeps its names, mode and attributes', async () => {
      await changed(
        async (tree) => {
          await tree.writeFile('/a', Buffer.alloc(100_000, 'old'), { mode: 0o755, uid: 3 });
          await tree.setXattr('/a', 'user.kept', 'yes');
          await tree.link('/a', '/b');
          await tree.symlink('b', '/link');
          await tree.writeFile('/link', 'new', { gid: 4 });
        },
        async (tree) => {
          expect(await tree.stat('/a')).toMatchObject({ mode: 0o755, uid: 3, gid: 4, size: 3, linkCount: 2 });
          expect((await tree.readFile('/a')).toString()).toBe('new');
          expect(await tree.getXattrs('/b')).toEqual([{ name: 'user.kept', value: Buffer.from('yes') }]);
        },
      );
    });

    it('with replace puts a new file in the place of links and files, but not of directories', async () => {
      await changed(
        async (tree) => {
          await tree.writeFile('/target', 'target');
          await tree.symlink('target', '/link');
          await tree.writeFile('/link', 'instead', { replace: true });
          await tree.link('/target', '/other');
          await tree.writeFile('/target', 'new', { replace: true });
          await tree.mkdir('/d');
          await expect(tree.writeFile('/d', '', { replace: true })).rejects.toMatchObject(errno(EISDIR));
          await expect(tree.writeFile('/d', '')).rejects.toMatchObject(errno(EISDIR));
          await expect(tree.writeFile('/', '')).rejects.toMatchObject(errno(EISDIR));
          await expect(tree.writeFile('/no/such', '')).rejects.toMatchObject({ code: 'NOT_FOUND' });
        },
        async (tree) => {
          expect((await tree.lstat('/link')).type).toBe('file');
          expect((await tree.readFile('/other')).toString()).toBe('target');
          expect((await tree.readFile('/target')).toString()).toBe('new');
        },
      );
    });

    it('that does not fit is NO_SPACE and leaves the old content', async () => {
      using folder = scratchFolder();
      const image = await TestImage.create(folder.path, { size: 16 * MIB, isolation });
      await image.tree.writeFile('/a', 'old');
      const before = await factsOf(image.tree);
      const tooMuch = Buffer.alloc(32 * MIB, 'x');
      for (const attempt of [
        image.tree.writeFile('/a', tooMuch),
        image.tree.writeFile('/a', tooMuch, { replace: true }),
        image.tree.writeFile('/new', tooMuch),
      ]) {
        await expect(attempt).rejects.toMatchObject({ code: 'NO_SPACE' });
      }
      expect(await factsOf(image.tree)).toEqual(before);
      await image.tree.writeFile('/fits', Buffer.alloc(MIB, 'x'));
      await image.closeAndCheck();
    });

    it('of many runs with holes between them keeps every byte', async () => {
      const content = Buffer.alloc(20 * MIB);
      for (let offset = 0; offset < content.length; offset += 12_288) content[offset + (offset % 4096)] = 1;
      await changed(
        (tree) => tree.writeFile('/sparse', content),
        async (tree) => {
          expect((await tree.readFile('/sparse')).equals(content)).toBe(true);
          const [digest] = await collect(tree.digest('/sparse'));
          expect(digest?.stored?.length).toBe(Math.ceil(content.length / 12_288));
          expect(await tree.readFile('/sparse', { offset: 12_287, length: 2 })).toEqual(Buffer.from([0, 1]));
        },
      );
    });
  });

  describe('Ext4Tree.copyIn and copyOut', () => {
    it('take no time for a hole of terabytes, nor does its digest', async () => {
      using folder = scratchFolder();
      const source = path.join(folder.path, 'source');
      writeFileSync(source, '');
      truncateSync(source, 4 * 1024 ** 4);
      const image = await TestImage.create(folder.path, { isolation });
      await image.tree.copyIn(source, '/hole');
      const [file] = await collect(image.tree.digest('/hole'));
      expect(file).toMatchObject({ size: 4 * 1024 ** 4, stored: [] });
      expect(file?.contentDigest).toMatch(/^[0-9a-f]{64}$/);
      await image.closeAndCheck();
    });

    it('keep content and holes', async () => {
      using folder = scratchFolder();
      const source = path.join(folder.path, 'source');
      const target = path.join(folder.path, 'target');
      const handle = openSync(source, 'w');
      writeSync(handle, Buffer.alloc(3 * MIB, 'abc'), 0, 3 * MIB, 0);
      writeSync(handle, Buffer.from('end'), 0, 3, 200 * MIB);
      closeSync(handle);
      await changed(
        (tree) => tree.copyIn(source, '/big', { mode: 0o600 }),
        async (tree) => {
          expect(await tree.stat('/big')).toMatchObject({
            size: 200 * MIB + 3,
            allocated: 3 * MIB + 4096,
            mode: 0o600,
          });
          expect(await tree.copyOut('/big', target)).toBe(200 * MIB + 3);
        },
      );
      run('cmp', [source, target]);
      expect(statSync(target).blocks).toBeLessThan(7000);
    });

    it('leave nothing behind when they fail', async () => {
      using folder = scratchFolder();
      await using image = await TestImage.create(folder.path, { size: 256 * MIB, isolation });
      const target = path.join(folder.path, 'target');
      await expect(image.tree.copyOut('/missing', target)).rejects.toMatchObject({ code: 'NOT_FOUND' });
      expect(existsSync(target)).toBe(false);
      writeFileSync(target, 'mine');
      await image.tree.writeFile('/a', 'x');
      await expect(image.tree.copyOut('/a', target)).rejects.toMatchObject({
        code: 'IO',
        context: { errno: EEXIST },
      });
      expect(readFileSync(target, 'utf8')).toBe('mine');

      const source = path.join(folder.path, 'source');
      writeFileSync(source, Buffer.alloc(128 * MIB, 'x'));
      const before = await factsOf(image.tree);
      const abort = new AbortController();
      const copying = image.tree.copyIn(source, '/copy', {
        signal: abort.signal,
        onProgress: () => abort.abort(),
      });
      await expect(copying).rejects.toMatchObject({ name: 'AbortError' });
      expect(await factsOf(image.tree)).toEqual(before);
      await image.tree.copyIn(source, '/copy');
      await image.closeAndCheck();
    });
  });

  describe('Ext4Tree.mkdir', () => {
    it('makes one, and with recursive what is missing', async () => {
      await changed(
        async (tree) => {
          await tree.mkdir('/a', { mode: 0o1777 });
          await expect(tree.mkdir('/a')).rejects.toMatchObject(errno(EEXIST));
          await expect(tree.mkdir('/x/y')).rejects.toMatchObject({ code: 'NOT_FOUND' });
          await tree.symlink('a', '/link');
          await tree.mkdir('/link/b/c', { recursive: true, mode: 0o700, uid: 9 });
          await tree.mkdir('/a/b', { recursive: true, mode: 0o777 });
          await tree.writeFile('/file', '');
          await expect(tree.mkdir('/file', { recursive: true })).rejects.toMatchObject(errno(EEXIST));
          await expect(tree.mkdir('/file/x', { recursive: true })).rejects.toMatchObject(errno(ENOTDIR));
        },
        async (tree) => {
          expect(await tree.stat('/a')).toMatchObject({ mode: 0o1777, linkCount: 3 });
          expect(await tree.stat('/a/b')).toMatchObject({ mode: 0o755, uid: 0 });
          expect(await tree.stat('/a/b/c')).toMatchObject({ mode: 0o700, uid: 9 });
        },
      );
    });
  });

  describe('Ext4Tree.symlink, link and mknod', () => {
    it('make what they say', async () => {
      await changed(
        async (tree) => {
          await tree.symlink('/etc/target', '/fast', { uid: 5, mtimeNs: -1n });
          await tree.symlink('t'.repeat(60), '/slow');
          await tree.symlink(Buffer.from([0xff]), '/bytes');
          await tree.link('/fast', '/hard');
          await tree.mknod('/null', { type: 'character-device', major: 1, minor: 3, mode: 0o666 });
          await tree.mknod('/disk', { type: 'block-device', major: 259, minor: 1_048_575 });
          await tree.mknod('/fifo', { type: 'fifo' });
          await tree.mknod('/socket', { type: 'socket', mode: 0o755 });
          await expect(tree.symlink('x', '/fast')).rejects.toMatchObject(errno(EEXIST));
          await tree.symlink('replaced', '/slow', { replace: true });
          await expect(tree.link('/missing', '/x')).rejects.toMatchObject({ code: 'NOT_FOUND' });
          await expect(tree.link('/', '/x')).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
          await expect(tree.mknod('/x', { type: 'block-device', major: 4096 })).rejects.toMatchObject(
            errno(EINVAL),
          );
          await expect(tree.symlink('', '/x')).rejects.toMatchObject(errno(ENAMETOOLONG));
        },
        async (tree) => {
          expect(await tree.readlink('/fast')).toEqual({ target: '/etc/target' });
          expect(await tree.readlink('/slow')).toEqual({ target: 'replaced' });
          expect(await tree.readlink('/bytes')).toEqual({
            target: '\ufffd',
            targetBytes: Buffer.from([0xff]),
          });
          await expect(tree.readlink('/fifo')).rejects.toMatchObject(errno(EINVAL));
          expect(await tree.lstat('/hard')).toMatchObject({
            type: 'symlink',
            linkCount: 2,
            uid: 5,
            mtimeNs: -1n,
          });
          expect(await tree.stat('/disk')).toMatchObject({ device: { major: 259, minor: 1_048_575 } });
          expect(await tree.stat('/socket')).toMatchObject({ type: 'socket', mode: 0o755 });
        },
      );
    });
  });

  describe('Ext4Tree.chmod, chown and utimes', () => {
    it('change what is given and keep the rest', async () => {
      const beyond2106 = 5_000_000_000_123_456_789n;
      await changed(
        async (tree) => {
          await tree.writeFile('/f', 'x', { mode: 0o640, uid: 1, gid: 2 });
          await tree.symlink('f', '/link');
          await tree.chmod('/link', 0o4755);
          await tree.chown('/f', { gid: 4_294_967_294 });
          await tree.chown('/link', { uid: 77 }, { followLink: false });
          await tree.utimes('/f', { mtimeNs: beyond2106, atimeNs: 1n });
          await expect(tree.chmod('/f', 0o10000)).rejects.toThrow(RangeError);
        },
        async (tree) => {
          expect(await tree.stat('/f')).toMatchObject({
            mode: 0o4755,
            uid: 1,
            gid: 4_294_967_294,
            mtimeNs: beyond2106,
            atimeNs: 1n,
          });
          expect(await tree.lstat('/link')).toMatchObject({ uid: 77, mode: 0o777 });
        },
      );
    });

    it('keep mode and ACL together, as Linux does', async () => {
      const acl = (entries: string) => Buffer.from(`02000000${entries}`.replaceAll(' ', ''), 'hex');
      const given = '01000600ffffffff 02000700e8030000 04000400ffffffff 10000500ffffffff 20000100ffffffff';
      await changed(
        async (tree) => {
          await tree.writeFile('/f', 'x', { mode: 0o1600 });
          await tree.setXattr('/f', 'system.posix_acl_access', acl(given));
          expect((await tree.stat('/f')).mode).toBe(0o1651);
          await tree.chmod('/f', 0o742);
          await tree.writeFile('/minimal', 'x');
          const minimal = '01000600ffffffff 04000000ffffffff 20000000ffffffff';
          await tree.setXattr('/minimal', 'system.posix_acl_access', acl(minimal));
          const none = tree.setXattr('/f', 'system.posix_acl_access', Buffer.from('no ACL'));
          await expect(none).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
        },
        async (tree) => {
          const expected =
            '01000700ffffffff 02000700e8030000 04000400ffffffff 10000400ffffffff 20000200ffffffff';
          expect((await tree.stat('/f')).mode).toBe(0o742);
          expect(await tree.getXattrs('/f')).toEqual([
            { name: 'system.posix_acl_access', value: acl(expected) },
          ]);
          expect((await tree.stat('/minimal')).mode).toBe(0o600);
          expect(await tree.getXattrs('/minimal')).toEqual([]);
        },
      );
    });
  });

  describe('Ext4Tree.setXattr, getXattrs and removeXattr', () => {
    it('fill the inode, then a block, and give both back', async () => {
      await changed(
        async (tree) => {
          await tree.writeFile('/f', 'x');
          for (const size of [10, 20, 500, 3000])
            await tree.setXattr('/f', `user.a${size}`, Buffer.alloc(size, 'v'));
          expect((await tree.stat('/f')).allocated).toBe(8192);
          await expect(tree.setXattr('/f', 'user.more', Buffer.alloc(1000))).rejects.toMatchObject({
            code: 'UNSUPPORTED',
          });
          await expect(tree.setXattr('/f', 'system.data', 'x')).rejects.toMatchObject({
            code: 'UNSUPPORTED',
          });
          await expect(tree.removeXattr('/f', 'user.none')).rejects.toMatchObject({ code: 'NOT_FOUND' });
          await tree.setXattr('/f', 'user.a10', 'changed');
          await tree.symlink('f', '/link');
          await tree.setXattr('/link', 'trusted.link', 'own', { followLink: false });
          await tree.writeFile('/emptied', 'x');
          await tree.setXattr('/emptied', 'user.big', Buffer.alloc(3000));
          await tree.removeXattr('/emptied', 'user.big');
        },
        async (tree) => {
          const attributes = await tree.getXattrs('/f');
          expect(attributes.map(({ name, value }) => [name, value.length])).toEqual([
            ['user.a10', 7],
            ['user.a20', 20],
            ['user.a3000', 3000],
            ['user.a500', 500],
          ]);
          expect((await tree.getXattrs('/link', { followLink: false })).map(({ name }) => name)).toEqual([
            'trusted.link',
          ]);
          expect((await tree.stat('/emptied')).allocated).toBe(4096);
        },
      );
    });
  });

  describe('Ext4Tree.remove', () => {
    it('gives back every block and inode', async () => {
      using folder = scratchFolder();
      const image = await TestImage.create(folder.path, { isolation });
      const free = (file: string) => /Free inodes: +(\d+)[\s\S]*?Free blocks: +(\d+)|$/.exec(file)?.slice(1);
      await image.tree.flush();
      const before = free(debugfs(image.path, 'show_super_stats -h'));
      await image.tree.mkdir('/d/e/f', { recursive: true });
      for (let i = 0; i < 200; ++i) await image.tree.writeFile(`/d/e/file-${i}`, Buffer.alloc(5000, 'x'));
      await image.tree.setXattr('/d/e/file-1', 'user.big', Buffer.alloc(3000, 'x'));
      await image.tree.symlink('x'.repeat(100), '/d/link');
      await image.tree.link('/d/e/file-1', '/survivor');
      await image.tree.flush();
      await expect(image.tree.remove('/d')).rejects.toMatchObject(errno(ENOTEMPTY));
      await image.tree.remove('/d', { recursive: true });
      expect((await image.tree.stat('/survivor')).linkCount).toBe(1);
      await image.tree.remove('/survivor');
      await expect(image.tree.remove('/')).rejects.toMatchObject(errno(EBUSY));
      await expect(image.tree.remove('/gone')).rejects.toMatchObject({ code: 'NOT_FOUND' });
      await image.closeAndCheck();
      expect(free(debugfs(image.path, 'show_super_stats -h'))).toEqual(before);
      // What was written and removed again takes no room in the file either.
      expect(statSync(image.path).blocks * 512).toBeLessThan(2 * MIB);
    });
  });

  describe('Ext4Tree.rename', () => {
    it('moves files and directories, and replaces as rename(2) does', async () => {
      await changed(
        async (tree) => {
          await tree.mkdir('/a/b', { recursive: true });
          await tree.mkdir('/c');
          await tree.writeFile('/a/b/file', '1');
          await tree.writeFile('/other', '2');
          await tree.rename('/a/b', '/c/b');
          await tree.rename('/other', '/c/b/file');
          await expect(tree.rename('/c', '/c/b/c')).rejects.toMatchObject(errno(EINVAL));
          await expect(tree.rename('/a', '/c/b/file')).rejects.toMatchObject(errno(ENOTDIR));
          await expect(tree.rename('/c/b/file', '/a')).rejects.toMatchObject(errno(EISDIR));
          await expect(tree.rename('/a', '/c')).rejects.toMatchObject(errno(ENOTEMPTY));
          await tree.rename('/c', '/a');
          await tree.rename('/a', '/a');
          await expect(tree.rename('/gone', '/x')).rejects.toMatchObject({ code: 'NOT_FOUND' });
        },
        async (tree) => {
          expect(await paths(tree)).toEqual(['/a', '/a/b', '/a/b/file']);
          expect((await tree.readFile('/a/b/../b/file')).toString()).toBe('2');
          expect((await tree.stat('/a')).linkCount).toBe(3);
        },
      );
    });
  });

  describe('Ext4Tree paths', () => {
    it('resolve inside the image', async () => {
      using folder = scratchFolder();
      await using image = await TestImage.create(folder.path, { isolation });
      const { tree } = image;
      await tree.mkdir('/d/e', { recursive: true });
      await tree.writeFile('/d/file', 'x');
      await tree.symlink('../../../../d', '/d/e/up');
      await tree.symlink('/d/file', '/absolute');
      await tree.symlink('loop', '/loop');
      expect((await tree.stat('d//e/../e/up/./file/')).size).toBe(1);
      expect((await tree.stat('../../absolute')).size).toBe(1);
      expect((await tree.stat('/d/e/..')).inode).toBe((await tree.stat('/d')).inode);
      await expect(tree.stat('/loop')).rejects.toMatchObject(errno(ELOOP));
      await expect(tree.stat('/d/file/x')).rejects.toMatchObject(errno(ENOTDIR));
      await expect(tree.stat('/nothing/x')).rejects.toMatchObject({ code: 'NOT_FOUND' });
      await expect(tree.writeFile('n'.repeat(256), '')).rejects.toMatchObject(errno(ENAMETOOLONG));
      await expect(tree.list('/d/file')).rejects.toMatchObject(errno(ENOTDIR));
      await expect(tree.readFile('/d')).rejects.toMatchObject(errno(EISDIR));
      await expect(tree.stat('a\0b')).rejects.toThrow(RangeError);
      await expect(tree.stat('\ud800')).rejects.toThrow(RangeError);
      await expect(tree.stat(7 as never)).rejects.toThrow(TypeError);
    });

    it('that are not UTF-8 come back as they went in', async () => {
      const name = Buffer.from([0x61, 0xff, 0xc0, 0x80]);
      await changed(
        (tree) => tree.writeFile(Buffer.concat([Buffer.from('/'), name]), 'x'),
        async (tree) => {
          const found = (await tree.list('/')).find((file) => file.nameBytes !== undefined);
          expect(found).toMatchObject({ name: 'a\ufffd\ufffd\ufffd', nameBytes: name, type: 'file' });
          const walked = (await collect(tree.walk())).find((file) => file.pathBytes !== undefined);
          expect((await tree.readFile(walked?.pathBytes ?? '')).toString()).toBe('x');
        },
      );
    });
  });

  describe('Ext4Tree.walk', () => {
    it('gives every file below a path, a directory first, names in order of their bytes', async () => {
      using folder = scratchFolder();
      await using image = await TestImage.create(folder.path, { isolation });
      for (const name of ['a-b', 'a/x', 'a.b', 'B', 'ä']) await image.tree.mkdir(name, { recursive: true });
      for (let i = 0; i < 1500; ++i) await image.tree.mknod(`/a/x/${i}`, { type: 'fifo' });
      await image.tree.link('/a/x/7', '/a/link');
      await image.tree.symlink('x', '/a/zz');
      const all = await paths(image.tree);
      expect(all.length).toBe(1500 + 8);
      expect(all.filter((name) => !/\d/.test(name))).toEqual([
        '/B',
        '/a',
        '/a/link',
        '/a/x',
        '/a/zz',
        '/a-b',
        '/a.b',
        '/ä',
      ]);
      const files = await collect(image.tree.walk('a/./'));
      expect(files[0]).toMatchObject({ path: '/a', type: 'directory' });
      expect(files.find((file) => file.path === '/a/x/7')).toMatchObject({
        hardLink: '/a/link',
        linkCount: 2,
      });
      expect(files.find((file) => file.path === '/a/zz')).toMatchObject({ target: 'x' });
      expect(await collect(image.tree.walk('/a/zz'))).toMatchObject([{ path: '/a/zz', type: 'symlink' }]);
    });

    it('ends when the tree is changed meanwhile, and can be left early', async () => {
      using folder = scratchFolder();
      await using image = await TestImage.create(folder.path, { isolation });
      for (let i = 0; i < 600; ++i) await image.tree.mkdir(`/d${i}`);
      for await (const { path: first } of image.tree.walk()) {
        expect(first).toBe('/');
        break;
      }
      const walk = image.tree.walk();
      await walk.next();
      await image.tree.mkdir('/new');
      await expect(collect(walk)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
      const abort = new AbortController();
      const aborted = image.tree.walk('/', { signal: abort.signal });
      await aborted.next();
      abort.abort();
      await expect(collect(aborted)).rejects.toMatchObject({ name: 'AbortError' });
    });
  });

  describe('openTree', () => {
    it('refuses what it must not touch', async () => {
      using folder = scratchFolder();
      const file = path.join(folder.path, 'image');
      const open = async (writable: boolean) => {
        await using device = await openFileDevice(file, { writable });
        await using tree = await openTree(device, { writable, isolation });
        return (await tree.list('/')).length;
      };
      writeFileSync(file, Buffer.alloc(MIB));
      await expect(open(false)).rejects.toMatchObject({ code: 'CORRUPT' });
      for (const feature of ['bigalloc', 'inline_data', 'quota', '^extents,^64bit']) {
        run('mke2fs', ['-q', '-F', '-t', 'ext4', '-O', feature, file, '64M']);
        await expect(open(true)).rejects.toMatchObject({ code: 'UNSUPPORTED' });
        expect(await open(false)).toBe(1);
      }
    });

    it('reads what mke2fs -d makes: ext2, 1 KiB blocks, inline data, small inodes', async () => {
      using folder = scratchFolder();
      const source = path.join(folder.path, 'source');
      run('mkdir', ['-p', `${source}/d`]);
      writeFileSync(`${source}/small`, 'inline');
      writeFileSync(`${source}/big`, Buffer.alloc(5 * MIB, 'block mapped '));
      for (let i = 0; i < 300; ++i) writeFileSync(`${source}/d/${i}`, String(i));
      for (const options of [
        ['-t', 'ext2', '-b', '1024', '-I', '128'],
        ['-t', 'ext3'],
        ['-t', 'ext4', '-O', 'inline_data', '-I', '256'],
        ['-t', 'ext4', '-b', '65536', '-F'],
      ]) {
        const image = path.join(folder.path, `image${options.join('')}`);
        run('mke2fs', ['-q', '-F', ...options, '-d', source, image, '64M']);
        await using device = await openFileDevice(image);
        await using tree = await openTree(device, { isolation });
        expect((await tree.readFile('/small')).toString()).toBe('inline');
        expect((await tree.readFile('/big')).equals(readFileSync(`${source}/big`))).toBe(true);
        expect((await tree.list('/d')).length).toBe(300);
        expect((await tree.readFile('/d/299')).toString()).toBe('299');
      }
    });

    it('for reading refuses changes and writes nothing', async () => {
      using folder = scratchFolder();
      const image = await TestImage.create(folder.path, { isolation });
      await image.closeAndCheck();
      const before = readFileSync(image.path);
      await using device = await openFileDevice(image.path);
      const tree = await openTree(device, { isolation });
      await expect(tree.writeFile('/x', 'x')).rejects.toMatchObject({ code: 'IO', context: { errno: 30 } });
      await expect(tree.flush()).rejects.toMatchObject({ code: 'IO', context: { errno: 30 } });
      expect(await paths(tree)).toEqual([]);
      await tree.close();
      await tree.close();
      await expect(tree.stat('/')).rejects.toMatchObject({ code: 'CLOSED' });
      expect(readFileSync(image.path).equals(before)).toBe(true);
    });

    it('writes to images of the stock mke2fs, too', async () => {
      using folder = scratchFolder();
      for (const options of [
        ['-t', 'ext4'],
        ['-t', 'ext4', '-b', '1024'],
        ['-t', 'ext4', '-O', '^metadata_csum,^64bit,^dir_index'],
      ]) {
        const image = path.join(folder.path, `image${options.length}`);
        run('mke2fs', ['-q', '-F', ...options, image, '64M']);
        const device = await openFileDevice(image, { writable: true });
        const tree = await openTree(device, { writable: true, isolation });
        for (let i = 0; i < 400; ++i)
          await tree.writeFile(`/a long enough name of a file ${i}`, `content ${i}`);
        for (let i = 0; i < 390; ++i) await tree.remove(`/a long enough name of a file ${i}`);
        await tree.close();
        await device.close();
        expectClean(image);
      }
    });
  });
});

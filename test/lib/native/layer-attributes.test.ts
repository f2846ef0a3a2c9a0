/** What a layer's entries say besides content: modes, owners, attributes, ACLs, capabilities, devices. */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { layerFile, type TarEntry } from './tar-testing.js';
import {
  debugfs,
  type Facts,
  factsOf,
  factsOfFolder,
  factsOfMount,
  MIB,
  run,
  scratchFolder,
  TestImage,
} from './tree-testing.js';

async function withLayer(layer: TarEntry[], look: (image: TestImage) => Promise<void>): Promise<void> {
  using folder = scratchFolder();
  const image = await TestImage.create(folder.path);
  await image.tree.applyLayer(layerFile(folder.path, layer));
  await look(image);
  await image.closeAndCheck();
}

const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex');
/** An ACL in Linux' form: user::rw-, user:1000:r--, group::r--, mask::rw-, other::--- */
const ACL = hex(
  '02000000 01000600ffffffff 02000400e8030000 04000400ffffffff 10000600ffffffff 20000000ffffffff',
);
/** cap_net_bind_service=ep */
const CAPABILITY = hex('0100000200040000000000000000000000000000');

describe('modes', () => {
  it('000, setuid, setgid and sticky stay', async () => {
    const modes = [0, 0o4755, 0o2755, 0o1777, 0o7777, 0o644];
    const layer = [
      ...modes.map((mode) => ({ name: `file-${mode}`, mode, uid: 1000, gid: 1000, data: 'x' })),
      ...modes.map((mode) => ({ name: `directory-${mode}`, type: '5', mode })),
      { name: 'directory-0/inside' },
    ];
    await withLayer(layer, async (image) => {
      for (const mode of modes) {
        expect(await image.tree.stat(`file-${mode}`)).toMatchObject({ mode, uid: 1000, gid: 1000 });
        expect(await image.tree.stat(`directory-${mode}`)).toMatchObject({ mode, uid: 0, gid: 0 });
      }
      expect((await image.tree.readFile('/file-0')).toString()).toBe('x');
      expect((await image.tree.stat('/directory-0/inside')).type).toBe('file');
    });
  });

  it('come with owners of 32 bits', async () => {
    const layer = [
      { name: 'a', uid: 0o7777777, gid: 65536 },
      { name: 'b', pax: { uid: '4294967294', gid: '2147483648' } },
    ];
    await withLayer(layer, async (image) => {
      expect(await image.tree.stat('/a')).toMatchObject({ uid: 0o7777777, gid: 65536 });
      expect(await image.tree.stat('/b')).toMatchObject({ uid: 4294967294, gid: 2147483648 });
    });
  });
});

describe('nodes', () => {
  it('are devices and fifos with their numbers', async () => {
    const layer = [
      { name: 'null', type: '3', major: 1, minor: 3, mode: 0o666 },
      { name: 'sda', type: '4', major: 8, minor: 0 },
      { name: 'wide', type: '3', major: 4095, minor: 0o7777 },
      { name: 'whiteout-of-overlayfs', type: '3', major: 0, minor: 0 },
      { name: 'fifo', type: '6', mode: 0o600 },
    ];
    await withLayer(layer, async (image) => {
      const stat = (name: string) => image.tree.stat(name);
      expect(await stat('null')).toMatchObject({
        type: 'character-device',
        device: { major: 1, minor: 3 },
        mode: 0o666,
      });
      expect(await stat('sda')).toMatchObject({ type: 'block-device', device: { major: 8, minor: 0 } });
      expect(await stat('wide')).toMatchObject({ device: { major: 4095, minor: 4095 } });
      expect(await stat('whiteout-of-overlayfs')).toMatchObject({ device: { major: 0, minor: 0 } });
      expect(await stat('fifo')).toMatchObject({ type: 'fifo', mode: 0o600, size: 0 });
    });
  });
});

describe('attributes', () => {
  it('of every namespace stay, and debugfs reads them too', async () => {
    using folder = scratchFolder();
    const image = await TestImage.create(folder.path);
    const long = 'v'.repeat(2000);
    const layer = [
      {
        name: 'file',
        pax: {
          'SCHILY.xattr.user.text': 'value',
          'SCHILY.xattr.user.binary': hex('00ff00'),
          'SCHILY.xattr.user.empty': '',
          'SCHILY.xattr.user.long': long,
          'SCHILY.xattr.trusted.overlay.origin': 'x',
          'SCHILY.xattr.security.capability': CAPABILITY,
          'SCHILY.xattr.security.selinux': 'system_u:object_r:bin_t:s0\0',
          'SCHILY.xattr.system.posix_acl_access': ACL,
          'LIBARCHIVE.xattr.user.encoded%20name': Buffer.from('base64').toString('base64'),
        },
      },
      { name: 'directory', type: '5', pax: { 'SCHILY.xattr.system.posix_acl_default': ACL } },
      { name: 'link', type: '2', link: 'file', pax: { 'SCHILY.xattr.security.selinux': 'label' } },
      { name: 'labelled', pax: { 'RHT.security.selinux': 'system_u:object_r:etc_t:s0' } },
    ];
    await image.tree.applyLayer(layerFile(folder.path, layer));
    const facts = await factsOf(image.tree);
    const expected: Record<string, Buffer> = {
      'security.capability': CAPABILITY,
      'security.selinux': Buffer.from('system_u:object_r:bin_t:s0\0'),
      'system.posix_acl_access': ACL,
      'trusted.overlay.origin': Buffer.from('x'),
      'user.binary': hex('00ff00'),
      'user.empty': Buffer.alloc(0),
      'user.encoded name': Buffer.from('base64'),
      'user.long': Buffer.from(long),
      'user.text': Buffer.from('value'),
    };
    const hexed = Object.fromEntries(
      Object.entries(expected).map(([name, value]) => [name, value.toString('hex')]),
    );
    expect(facts.get('/file')?.xattrs).toEqual(hexed);
    expect(facts.get('/directory')?.xattrs).toEqual({ 'system.posix_acl_default': ACL.toString('hex') });
    expect(facts.get('/link')?.xattrs).toEqual({ 'security.selinux': Buffer.from('label').toString('hex') });
    expect(facts.get('/labelled')?.xattrs).toEqual({
      'security.selinux': Buffer.from('system_u:object_r:etc_t:s0').toString('hex'),
    });
    await image.closeAndCheck();
    expect(debugfs(image.path, 'ea_get /file user.text')).toContain('value');
    expect(debugfs(image.path, 'ea_list /file')).toContain('security.capability');
    expect(factsOfMount(image.path, folder.path, facts)).toEqual(facts);
  });

  it('that ext4 cannot hold are left out and reported', async () => {
    using folder = scratchFolder();
    await using image = await TestImage.create(folder.path);
    const layer = [
      { name: 'f', pax: { 'SCHILY.xattr.com.apple.quarantine': 'x', 'SCHILY.xattr.user.kept': 'y' } },
    ];
    const report = await image.tree.applyLayer(layerFile(folder.path, layer));
    expect(report.skippedXattrs).toEqual([{ path: 'f', name: 'com.apple.quarantine' }]);
    expect((await image.tree.getXattrs('/f')).map(({ name }) => name)).toEqual(['user.kept']);
  });

  it('that need more room than ext4 has are UNSUPPORTED', async () => {
    using folder = scratchFolder();
    await using image = await TestImage.create(folder.path);
    const layer = [{ name: 'f', pax: { 'SCHILY.xattr.user.big': 'x'.repeat(5000) } }];
    const applying = image.tree.applyLayer(layerFile(folder.path, layer));
    await expect(applying).rejects.toMatchObject({ code: 'UNSUPPORTED', context: { path: 'f' } });
  });

  it('that are ACLs in text become those of Linux', async () => {
    const layer = [
      {
        name: 'file',
        mode: 0o660,
        pax: { 'SCHILY.acl.access': 'user::rw-,user:1000:r--,group::r--,mask::rw-,other::---' },
      },
      { name: 'plain', pax: { 'SCHILY.acl.access': 'user::rw-,group::r--,other::r--' } },
      {
        name: 'directory',
        type: '5',
        pax: { 'SCHILY.acl.default': 'user::rwx,group::r-x,other::r-x,group:joe:rw-:1001,mask::rwx' },
      },
      {
        name: 'both',
        pax: {
          'SCHILY.acl.access': 'user::rw-,user:7:rwx,group::r--,mask::rw-,other::---',
          'SCHILY.xattr.system.posix_acl_access': ACL,
        },
      },
    ];
    await withLayer(layer, async (image) => {
      expect(await image.tree.getXattrs('/file')).toEqual([{ name: 'system.posix_acl_access', value: ACL }]);
      expect(await image.tree.getXattrs('/plain')).toEqual([]);
      expect(await image.tree.getXattrs('/both')).toEqual([{ name: 'system.posix_acl_access', value: ACL }]);
      const value = hex(
        '02000000 01000700ffffffff 04000500ffffffff 08000600e9030000 10000700ffffffff 20000500ffffffff',
      );
      expect(await image.tree.getXattrs('/directory')).toEqual([{ name: 'system.posix_acl_default', value }]);
    });
  });

  it('that are ACLs with names and without numbers are UNSUPPORTED', async () => {
    using folder = scratchFolder();
    await using image = await TestImage.create(folder.path);
    const text = 'user::rw-,user:joe:r--,group::r--,mask::rw-,other::---';
    const layer = layerFile(folder.path, [{ name: 'f', pax: { 'SCHILY.acl.access': text } }]);
    await expect(image.tree.applyLayer(layer)).rejects.toMatchObject({ code: 'UNSUPPORTED' });
  });
});

/** Everything that makes copying hard, made with the real tools. REQUIRES: root. */
function makeHardTree(root: string): void {
  mkdirSync(root);
  const at = (name: string) => path.join(root, name);
  for (const folder of ['bin', 'etc', 'dev', 'empty', 'deep/er/and/deeper'])
    mkdirSync(at(folder), { recursive: true });
  writeFileSync(at('bin/tool'), Buffer.alloc(20_000, 'binary'));
  run('setcap', ['cap_net_bind_service=+ep', at('bin/tool')]);
  writeFileSync(at('bin/su'), 'setuid');
  chownSync(at('bin/su'), 0, 42);
  chmodSync(at('bin/su'), 0o6755);
  writeFileSync(at('etc/shadow'), 'secret');
  chmodSync(at('etc/shadow'), 0);
  writeFileSync(at('etc/acl'), 'acl');
  run('setfacl', ['-m', 'u:1234:rw,g:99:r', at('etc/acl')]);
  run('setfacl', ['-d', '-m', 'u:1234:rwx', at('empty')]);
  run('setfattr', ['-n', 'user.comment', '-v', 'a comment', at('etc/acl')]);
  run('setfattr', ['-n', 'trusted.note', '-v', 'only root', at('empty')]);
  run('mknod', [at('dev/console'), 'c', '5', '1']);
  run('mknod', [at('dev/vda'), 'b', '254', '300']);
  run('mkfifo', ['-m', '600', at('dev/fifo')]);
  linkSync(at('bin/tool'), at('deep/er/hard-link'));
  symlinkSync('../bin/tool', at('deep/link'));
  symlinkSync('x'.repeat(200), at('deep/long-link'));
  linkSync(at('deep/link'), at('deep/link-to-link'));
  writeFileSync(at('deep/name with\nnewline and \\backslash'), '');
  writeFileSync(Buffer.concat([Buffer.from(at('deep/')), Buffer.from([0xff, 0xfe, 0x80])]), 'not UTF-8');
  writeFileSync(at(`deep/${'n'.repeat(255)}`), '');
  run('dd', ['if=/dev/urandom', `of=${at('deep/sparse')}`, 'bs=4096', 'count=3', 'seek=5000', 'status=none']);
  chownSync(at('deep/sparse'), 100_000, 4_000_000_000);
  lutimesSync(at('deep/link'), 1_000_000_000.25, 1_100_000_000.75);
  utimesSync(at('deep/er'), 1_200_000_000.5, 1_300_000_000.125);
}

/** GNU tar keeps nanoseconds in pax archives only; umoci and tar both set what they extract. */
function withoutTimes(facts: Facts): Facts {
  return new Map([...facts].map(([name, file]) => [name, { ...file, mtimeNs: 0n }]));
}

describe('a tree made with setcap, setfacl, setfattr and mknod', () => {
  it('packed with GNU tar is what GNU tar extracts, what a kernel sees, and the tree itself', async () => {
    using folder = scratchFolder();
    const source = path.join(folder.path, 'source');
    makeHardTree(source);
    const layer = path.join(folder.path, 'layer.tar.gz');
    const extras = ['--xattrs', '--xattrs-include=*', '--acls', '--numeric-owner'];
    run('tar', [...extras, '--format=pax', '--sparse', '-czf', layer, '-C', source, '.']);
    const extracted = path.join(folder.path, 'extracted');
    mkdirSync(extracted);
    run('tar', [...extras, '-xpf', layer, '-C', extracted]);

    const image = await TestImage.create(folder.path);
    await image.tree.applyLayer(layer);
    const facts = await factsOf(image.tree);
    await image.closeAndCheck();
    expect(facts.size).toBeGreaterThan(20);
    expect(facts).toEqual(factsOfFolder(source));
    expect(facts).toEqual(factsOfFolder(extracted));
    expect(factsOfMount(image.path, folder.path, facts)).toEqual(facts);
  });

  it('packed as an image by umoci, with a second layer, is what umoci unpacks', async () => {
    using folder = scratchFolder();
    const source = path.join(folder.path, 'source');
    const changed = path.join(folder.path, 'changed');
    makeHardTree(source);
    makeHardTree(changed);
    // The second layer: a changed file, a removed hard link, a directory that became a file.
    const second = [
      { name: 'bin/tool', data: 'replaced' },
      { name: 'etc/.wh.shadow' },
      { name: 'empty', data: 'was a directory' },
      { name: 'deep/.wh..wh..opq' },
      { name: 'deep/er/', type: '5' },
      { name: 'deep/er/new', type: '1', link: 'bin/su' },
    ];
    const first = path.join(folder.path, 'first.tar');
    run('tar', [
      '--xattrs',
      '--xattrs-include=*',
      '--numeric-owner',
      '--format=pax',
      '-cf',
      first,
      '-C',
      source,
      '.',
    ]);
    const layers = [first, layerFile(folder.path, second)];

    const layout = path.join(folder.path, 'layout');
    run('umoci', ['init', '--layout', layout]);
    run('umoci', ['new', '--image', `${layout}:test`]);
    for (const layer of layers) run('umoci', ['raw', 'add-layer', '--image', `${layout}:test`, layer]);
    run('umoci', ['unpack', '--image', `${layout}:test`, path.join(folder.path, 'bundle')]);

    const image = await TestImage.create(folder.path);
    for (const layer of layers) await image.tree.applyLayer(layer);
    const facts = await factsOf(image.tree);
    await image.closeAndCheck();
    const umoci = factsOfFolder(path.join(folder.path, 'bundle', 'rootfs'));
    expect(withoutTimes(facts)).toEqual(withoutTimes(umoci));
  });
});

describe('many files', () => {
  it.each([
    ['10,000 in one directory', 10_000, () => 'd'],
    ['100,000 in 1,000 directories', 100_000, (i: number) => `d${i % 10}/s${i % 1000}`],
  ])(
    '%s',
    async (title, count, folderOf) => {
      using folder = scratchFolder();
      const script = `
      import io, sys, tarfile
      archive = tarfile.open(sys.argv[1], 'w')
      for line in sys.stdin:
          name, size = line.split()
          entry = tarfile.TarInfo(name)
          entry.size = int(size)
          archive.addfile(entry, io.BytesIO(b'x' * entry.size))
      archive.close()`.replaceAll('\n      ', '\n');
      const layer = path.join(folder.path, 'layer.tar');
      const input = Array.from({ length: count }, (_, i) => `${folderOf(i)}/file-${i} ${i % 5000}\n`).join(
        '',
      );
      execFileSync('python3', ['-c', script, layer], { input });
      const image = await TestImage.create(folder.path, { size: 2048 * MIB });
      const start = performance.now();
      await image.tree.applyLayer(layer);
      await image.tree.flush();
      console.info(`${title}: applied in ${((performance.now() - start) / 1000).toFixed(2)} s`);
      await image.closeAndCheck();
      const name = `/${folderOf(1234)}/file-1234`;
      expect(debugfs(image.path, `stat ${name}`)).toContain('Size: 1234');
      if (count === 10_000) {
        expect(
          spawnSync('debugfs', ['-R', 'htree_dump /d', image.path], { encoding: 'utf8' }).stdout,
        ).toContain('Hash Version: 1');
      }
    },
    240_000,
  );
});

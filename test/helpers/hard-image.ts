/**
 * ext4 images with everything that is hard to carry over, made by the stock mke2fs and debugfs, without root and without a mount: in
 * every variant of the format that a source may have.
 */
import { link, mkdir, open, symlink, utimes, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';

export interface Variant {
  name: string;
  /** For mke2fs. */
  options: readonly string[];
  /** Attributes of more than one block are possible. */
  hasLargeAttributes?: boolean;
  /** A directory whose names are found without regard to case is made. */
  ignoresCase?: boolean;
  /** Inodes have room for projects, times of birth and nanoseconds. */
  hasSmallInodes?: boolean;
}

const EXT4 = ['-t', 'ext4', '-b', '4096'];

export const VARIANTS: readonly Variant[] = [
  { name: 'defaults', options: EXT4 },
  { name: '1 KiB blocks', options: ['-t', 'ext4', '-b', '1024'] },
  { name: '2 KiB blocks', options: ['-t', 'ext4', '-b', '2048'] },
  { name: 'inline data', options: [...EXT4, '-O', 'inline_data'] },
  { name: 'inline data in inodes of 1024 bytes', options: [...EXT4, '-O', 'inline_data', '-I', '1024'] },
  { name: 'no extents (ext3)', options: ['-t', 'ext3', '-b', '4096'] },
  { name: 'no extents, 1 KiB blocks, no journal (ext2)', options: ['-t', 'ext2', '-b', '1024'] },
  { name: 'no types in directories', options: [...EXT4, '-O', '^filetype'] },
  { name: 'no journal, no 64bit', options: [...EXT4, '-O', '^has_journal,^64bit'] },
  { name: 'inodes of 128 bytes', options: [...EXT4, '-I', '128'], hasSmallInodes: true },
  { name: 'inodes of 512 bytes', options: [...EXT4, '-I', '512'] },
  { name: 'values in inodes', options: [...EXT4, '-O', 'ea_inode'], hasLargeAttributes: true },
  {
    name: 'names without case',
    options: [...EXT4, '-O', 'casefold', '-E', 'encoding=utf8'],
    ignoresCase: true,
  },
  { name: 'project quota', options: [...EXT4, '-O', 'project,quota', '-E', 'quotatype=prjquota'] },
  { name: 'meta_bg, no checksums', options: [...EXT4, '-O', 'meta_bg,^resize_inode,^metadata_csum'] },
  { name: 'bigalloc', options: [...EXT4, '-O', 'bigalloc', '-C', '65536'] },
  { name: 'orphan file', options: [...EXT4, '-O', 'orphan_file,metadata_csum_seed'] },
];

/** A file with text at some places, and holes between them. */
export async function writeSparse(
  file: string,
  islands: readonly (readonly [offset: number, text: string])[],
) {
  await using handle = await open(file, 'w');
  for (const [offset, text] of islands) await handle.write(text, offset);
}

/** Sizes around every limit, holes, links, names of every length, a large directory. */
export async function writeHardContent(folder: string): Promise<void> {
  await mkdir(path.join(folder, 'sizes'), { recursive: true });
  for (const size of [0, 1, 59, 60, 100, 1023, 1024, 1025, 4095, 4096, 4097, 70_000, 3_000_001]) {
    await writeFile(path.join(folder, 'sizes', `${size}`), Buffer.alloc(size, `${size} bytes of content; `));
  }
  await writeFile(path.join(folder, 'zeros'), Buffer.alloc(300_000));
  await writeSparse(
    path.join(folder, 'islands'),
    Array.from({ length: 600 }, (_, i) => [i * 12_288 + (i % 3) * 1000, `island ${i}`] as const),
  );
  await mkdir(path.join(folder, 'many'));
  const long = 'a rather long name to fill many blocks of a directory with '.repeat(2);
  for (let i = 0; i < 1500; i += 1) {
    await writeFile(path.join(folder, 'many', `${long}${i}`), i % 7 === 0 ? `${i}` : '');
  }
  await mkdir(path.join(folder, 'deep/er/and/deeper'), { recursive: true });
  await writeFile(path.join(folder, 'deep/er/and/deeper/file'), 'found');
  await writeFile(Buffer.from(`${folder}/name \xff\xfe`, 'latin1'), 'not UTF-8');
  await writeFile(path.join(folder, 'n'.repeat(255)), 'longest name');
  await link(path.join(folder, 'sizes/70000'), path.join(folder, 'deep/hard link'));
  await symlink('sizes/1', path.join(folder, 'short link'));
  await symlink('x'.repeat(59), path.join(folder, 'longest fast link'));
  await symlink(`${'y/'.repeat(400)}z`, path.join(folder, 'long link'));
  await execa('mkfifo', [path.join(folder, 'fifo'), path.join(folder, 'socket')]);
  await utimes(path.join(folder, 'sizes/1'), -100_000.5, 5_000_000_000.25);
  await writeFile(path.join(folder, 'prealloc'), 'x'.repeat(5000));
  await writeFile(path.join(folder, 'only prealloc'), '');
}

/** Owner, one more user, group, mask, others. */
const ACL = '0200000001000600ffffffff02000600e803000004000400ffffffff10000600ffffffff20000400ffffffff';
/** cap_net_bind_service, effective and permitted. */
const CAPABILITY = '0100000200040000000000000000000000000000';

/** What only debugfs can make. */
function debugfsScript(variant: Variant, value: string): string {
  const lines = [
    'mknod null c 1 3',
    'mknod disk b 259 60000',
    'sif socket mode 0140755',
    'sif sizes/100 mode 0106755',
    ...['uid 100000', 'gid 4000000000', 'generation 4711', 'flags 0x800d0'].map(
      (field) => `sif sizes/1024 ${field}`,
    ),
    'sif sizes/4096 flags 0x80030',
    'ea_set sizes/0 user.small value',
    `ea_set -f ${value}.capability sizes/4096 security.capability`,
    `ea_set -f ${value}.800 sizes/70000 user.block`,
    `ea_set -f ${value}.800 deep user.block`,
    'ea_set deep user.second "of two"',
    `ea_set -f ${value}.100 many user.hundred`,
    `ea_set -f ${value}.acl sizes/4097 system.posix_acl_access`,
    `ea_set -f ${value}.acl deep system.posix_acl_default`,
    'fallocate prealloc 10 300',
  ];
  if (!variant.options.includes('inline_data')) lines.push('fallocate "only prealloc" 0 3000');
  if (!variant.hasSmallInodes && variant.options[1] === 'ext4') {
    lines.push('sif sizes/1 projid 42', 'sif sizes/1 crtime 1234567890', 'sif sizes/1 mtime_extra 400000000');
  }
  if (variant.hasLargeAttributes === true) {
    lines.push(`ea_set -f ${value}.20000 sizes/1025 user.large`, `ea_set -f ${value}.20000 many user.large`);
  }
  if (variant.ignoresCase === true) {
    lines.push('mkdir ci', 'sif ci flags 0x40080000');
    for (let i = 0; i < 150; i += 1)
      lines.push(`write ${value}.100 ci/Ein_Straßen-NAME_${'Ä'.repeat(20)}_${i}`);
  }
  return `${lines.join('\n')}\n`;
}

/** Makes an image of 256 MiB from a folder that `writeHardContent` has filled. It is clean. */
export async function makeHardImage(image: string, content: string, variant: Variant): Promise<void> {
  const value = `${image}.value`;
  for (const size of [100, 800, 20_000]) {
    await writeFile(`${value}.${size}`, Buffer.alloc(size, `an attribute of ${size} bytes; `));
  }
  await writeFile(`${value}.acl`, Buffer.from(ACL, 'hex'));
  await writeFile(`${value}.capability`, Buffer.from(CAPABILITY, 'hex'));
  await execa('mke2fs', ['-q', '-F', ...variant.options, '-d', content, image, '256M']);
  const script = `${image}.debugfs`;
  await writeFile(script, debugfsScript(variant, value));
  const { stderr } = await execa('debugfs', ['-w', '-f', script, image]);
  const problems = stderr.split('\n').filter((line) => line !== '' && !line.startsWith('debugfs 1.'));
  if (problems.length > 0) throw new Error(`debugfs on ${variant.name}: ${problems.join('; ')}`);
  // Quota and counts follow what debugfs changed.
  const { exitCode, stdout } = await execa('e2fsck', ['-fy', image], { reject: false });
  if ((exitCode ?? 8) > 1) throw new Error(`e2fsck gave up on ${variant.name}: ${stdout}`);
}

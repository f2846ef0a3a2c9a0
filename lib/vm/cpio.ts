/** Writes cpio archives in the "newc" format that the kernel takes for an initramfs. */

export interface CpioEntry {
  /** Relative, without a leading slash; a folder comes before what is in it. */
  path: string;
  /** Type and permission bits, as stat tells them. */
  mode: number;
  /** Of a regular file. */
  content?: Uint8Array;
}

export const FOLDER_MODE = 0o040755;
export const PROGRAM_MODE = 0o100755;
export const FILE_MODE = 0o100644;

const ALIGNMENT_BYTES = 4;
const TRAILER = 'TRAILER!!!';

/**
 * The archive of these entries, in their order, owned by root, dated 1970: the same entries always give the same bytes. It
 * is not compressed, so that no version of a compressor comes into that, and a guest need not spend time on it.
 */
export function encodeCpio(entries: readonly CpioEntry[]): Buffer {
  const parts: Uint8Array[] = [];
  for (const [index, entry] of entries.entries()) parts.push(...encodeEntry(entry, index + 1));
  parts.push(...encodeEntry({ path: TRAILER, mode: 0 }, 0));
  return Buffer.concat(parts);
}

function encodeEntry({ path, mode, content = new Uint8Array() }: CpioEntry, inode: number): Uint8Array[] {
  const name = Buffer.from(`${path}\0`);
  const isFolder = (mode & 0o170000) === 0o040000;
  const fields = [
    inode,
    mode,
    0, // owner
    0, // group
    isFolder ? 2 : 1, // links
    0, // modification time
    content.length,
    0, // device of the file system, major and minor
    0,
    0, // device that the file stands for, major and minor
    0,
    name.length,
    0, // checksum, which this format does not have
  ];
  const header = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`;
  const head = Buffer.concat([Buffer.from(header), name]);
  return [head, padding(head.length), content, padding(content.length)];
}

function padding(length: number): Uint8Array {
  return new Uint8Array((ALIGNMENT_BYTES - (length % ALIGNMENT_BYTES)) % ALIGNMENT_BYTES);
}

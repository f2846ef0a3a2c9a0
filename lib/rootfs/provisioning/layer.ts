/**
 * Writes provisioning files as the last layer of an OCI image: a POSIX tar archive.
 *
 * Only files and links are in it. Folders that the image lacks are made by whoever applies the layer, root-owned with mode
 * 0755; naming them here would reset those that the image has. A name that fits no ustar field gets a pax record.
 */
import { PROVISIONING_TIME, type ProvisioningFile } from './files.js';

const BLOCK_BYTES = 512;
const NAME_BYTES = 100;

function octal(value: number, digits: number): string {
  return `${value.toString(8).padStart(digits, '0')}\0`;
}

function paddedToBlock(data: Buffer): Buffer {
  const rest = data.length % BLOCK_BYTES;
  return rest === 0 ? data : Buffer.concat([data, Buffer.alloc(BLOCK_BYTES - rest)]);
}

interface EntryHeader {
  name: string;
  linkName?: string;
  type: '0' | '2' | 'x';
  mode: number;
  uid: number;
  gid: number;
  sizeBytes: number;
}

/** Names longer than their field are cut: a pax record says them in full. */
function encodeHeader({ name, linkName = '', type, mode, uid, gid, sizeBytes }: EntryHeader): Buffer {
  const header = Buffer.alloc(BLOCK_BYTES);
  Buffer.from(name).copy(header, 0, 0, NAME_BYTES);
  header.write(octal(mode, 7), 100);
  header.write(octal(uid, 7), 108);
  header.write(octal(gid, 7), 116);
  header.write(octal(sizeBytes, 11), 124);
  header.write(octal(PROVISIONING_TIME, 11), 136);
  header.fill(' ', 148, 156);
  header.write(type, 156);
  Buffer.from(linkName).copy(header, 157, 0, NAME_BYTES);
  header.write('ustar\x0000', 257, 'latin1');
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${octal(sum, 6)} `, 148);
  return header;
}

/** One pax record: its own decimal length, a blank, `key=value`, a newline. */
function encodePaxRecord(key: string, value: string): Buffer {
  const payload = Buffer.from(` ${key}=${value}\n`);
  let length = payload.length;
  while (length !== payload.length + String(length).length) length = payload.length + String(length).length;
  return Buffer.concat([Buffer.from(String(length)), payload]);
}

function encodeEntry({ path, mode, uid, gid, content, linkTarget }: ProvisioningFile): Buffer[] {
  const records = [
    ...(Buffer.byteLength(path) > NAME_BYTES ? [encodePaxRecord('path', path)] : []),
    ...(Buffer.byteLength(linkTarget ?? '') > NAME_BYTES
      ? [encodePaxRecord('linkpath', linkTarget ?? '')]
      : []),
  ];
  const pax = Buffer.concat(records);
  const own = encodeHeader({
    ...{ name: path, mode, uid, gid, sizeBytes: content?.length ?? 0 },
    ...(linkTarget === undefined ? { type: '0' } : { type: '2', linkName: linkTarget }),
  });
  return [
    ...(pax.length > 0
      ? [
          encodeHeader({ name: 'pax', type: 'x', mode: 0o644, uid: 0, gid: 0, sizeBytes: pax.length }),
          paddedToBlock(pax),
        ]
      : []),
    own,
    paddedToBlock(content ?? Buffer.alloc(0)),
  ];
}

/** The uncompressed tar archive of a set. The same set gives the same bytes. */
export function encodeProvisioningLayer(files: readonly ProvisioningFile[]): Buffer {
  return Buffer.concat([...files.flatMap(encodeEntry), Buffer.alloc(2 * BLOCK_BYTES)]);
}

/** Tar archives made header by header, for what no tar program would write. */
import { writeFileSync } from 'node:fs';
import path from 'node:path';

const BLOCK_BYTES = 512;

export interface TarEntry {
  /** Bytes as latin1 when it is a Buffer. */
  name: string | Buffer;
  /** The type flag: 0 file (default), 1 hard link, 2 symbolic link, 3 and 4 devices, 5 directory, 6 fifo, x pax. */
  type?: string;
  mode?: number;
  uid?: number;
  gid?: number;
  /** In whole seconds. */
  mtime?: number;
  link?: string | Buffer;
  data?: string | Buffer;
  /** The size that the header says, when it is not that of data. */
  size?: number;
  major?: number;
  minor?: number;
  /** Records of a pax header before the entry. */
  pax?: Record<string, string | Buffer>;
}

const bytesOf = (text: string | Buffer) => (typeof text === 'string' ? Buffer.from(text) : text);
const padded = (data: Buffer) =>
  Buffer.concat([data, Buffer.alloc((BLOCK_BYTES - (data.length % BLOCK_BYTES)) % BLOCK_BYTES)]);

function header(entry: TarEntry, size: number): Buffer {
  const block = Buffer.alloc(BLOCK_BYTES);
  const octal = (value: number, offset: number, length: number) =>
    block.write(value.toString(8).padStart(length - 1, '0'), offset, 'latin1');
  bytesOf(entry.name).copy(block, 0, 0, 100);
  octal(entry.mode ?? (entry.type === '5' ? 0o755 : 0o644), 100, 8);
  octal(entry.uid ?? 0, 108, 8);
  octal(entry.gid ?? 0, 116, 8);
  octal(size, 124, 12);
  octal(entry.mtime ?? 1_600_000_000, 136, 12);
  block.write(entry.type ?? '0', 156, 'latin1');
  bytesOf(entry.link ?? '').copy(block, 157, 0, 100);
  block.write('ustar\u000000', 257, 'latin1');
  octal(entry.major ?? 0, 329, 8);
  octal(entry.minor ?? 0, 337, 8);
  block.fill(' ', 148, 156);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}

function paxRecord(key: string, value: string | Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(` ${key}=`), bytesOf(value), Buffer.from('\n')]);
  let length = body.length + 1;
  while (String(length).length + body.length !== length) length = String(length).length + body.length;
  return Buffer.concat([Buffer.from(String(length)), body]);
}

/** The blocks of one entry, its pax header before it. */
export function tarEntry(entry: TarEntry): Buffer {
  const data = bytesOf(entry.data ?? '');
  const blocks = [header(entry, entry.size ?? data.length), padded(data)];
  if (entry.pax !== undefined) {
    const records = Buffer.concat(Object.entries(entry.pax).map(([key, value]) => paxRecord(key, value)));
    blocks.unshift(header({ name: 'pax', type: 'x' }, records.length), padded(records));
  }
  return Buffer.concat(blocks);
}

/** A whole archive. */
export function tar(entries: TarEntry[]): Buffer {
  return Buffer.concat([...entries.map(tarEntry), Buffer.alloc(2 * BLOCK_BYTES)]);
}

let count = 0;

/** Writes a layer's blob into a folder, and gives its path. */
export function layerFile(folder: string, content: Buffer | TarEntry[]): string {
  const file = path.join(folder, `layer-${++count}`);
  writeFileSync(file, Buffer.isBuffer(content) ? content : tar(content));
  return file;
}

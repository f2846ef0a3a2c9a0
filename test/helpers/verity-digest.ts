/** The digest that fs-verity gives to content: SHA-256, blocks of 4096 bytes, no salt. Straight from its definition. */
import { createHash } from 'node:crypto';

const BLOCK_BYTES = 4096;
const DESCRIPTOR_BYTES = 256;

const sha256 = (data: Buffer) => createHash('sha256').update(data).digest();

/** The hashes of the blocks of `data`, of which the last is filled up with zeros. */
function hashBlocks(data: Buffer): Buffer {
  const hashes: Buffer[] = [];
  for (let start = 0; start < data.length; start += BLOCK_BYTES) {
    const block = Buffer.alloc(BLOCK_BYTES);
    data.copy(block, 0, start);
    hashes.push(sha256(block));
  }
  return Buffer.concat(hashes);
}

/** In hexadecimal. */
export function verityDigest(content: Buffer): string {
  const descriptor = Buffer.alloc(DESCRIPTOR_BYTES);
  descriptor.set([1, 1, 12]); // Version, SHA-256, blocks of 2^12 bytes.
  descriptor.writeBigUInt64LE(BigInt(content.length), 8);
  let hashes = hashBlocks(content);
  while (hashes.length > 32) hashes = hashBlocks(hashes);
  hashes.copy(descriptor, 16);
  return sha256(descriptor).toString('hex');
}

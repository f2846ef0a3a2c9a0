import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { decodeHeader, encodeHeader } from '../../lib/native/chain.js';

const BUILD_A = '11111111-2222-3333-4444-555555555555';
const BUILD_B = 'aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee';
const PAGE = 4096;

/** The bytes of an example: the hexadecimal pairs that each of its lines begins with. */
async function exampleBytes(name: string): Promise<Buffer> {
  const page = await readFile(new URL('../../docs/formats.md', import.meta.url), 'utf8');
  const block = page.split(`<!-- golden: ${name} -->\n\`\`\`text\n`)[1]?.split('```')[0] ?? '';
  const hex = block.split('\n').map((line) => /^(?:[0-9a-f]{2}(?: |$))*/.exec(line)?.[0] ?? '');
  return Buffer.from(hex.join('').replaceAll(' ', ''), 'hex');
}

/** Anything as an LZ4 frame: one block that is stored, not packed, and no checksums. */
function storedLz4Frame(content: Buffer): Buffer {
  const size = Buffer.alloc(4);
  size.writeUInt32LE((content.length | 0x80000000) >>> 0);
  return Buffer.concat([Buffer.from('04224d18607073', 'hex'), size, content, Buffer.alloc(4)]);
}

test('docs/formats.md has the bytes of a header of version 3', async () => {
  const bytes = await exampleBytes('v3');
  expect(bytes.length).toBe(144);
  const header = decodeHeader(bytes);
  expect(header).toMatchObject({ version: 3, blockSize: PAGE, size: 4 * PAGE, generation: 0 });
  expect(header).toMatchObject({ buildId: BUILD_A, baseBuildId: BUILD_A });
  expect(header.mappings).toEqual([
    { offset: 0, length: 2 * PAGE, buildId: BUILD_A, storageOffset: 0 },
    { offset: 2 * PAGE, length: 2 * PAGE, buildId: null, storageOffset: 0 },
  ]);
  expect(encodeHeader(header)).toEqual(bytes);
});

test('docs/formats.md has the bytes of a mapping section of version 5', async () => {
  const columns = await exampleBytes('v5');
  expect(columns.length).toBe(54);
  const inner = Buffer.concat([Buffer.alloc(4), columns]); // No builds.
  const prefix = Buffer.alloc(69);
  prefix.writeUInt8(5, 0);
  prefix.writeUInt32LE(PAGE, 8);
  prefix.writeUInt32LE(8 * PAGE, 16);
  prefix.fill(1, 32, 64);
  prefix.writeUInt32LE(inner.length, 65);
  const header = decodeHeader(Buffer.concat([prefix, storedLz4Frame(inner)]));
  expect(header.mappings).toEqual([
    { offset: 0, length: 2 * PAGE, buildId: BUILD_A, storageOffset: 0 },
    { offset: 2 * PAGE, length: 2 * PAGE, buildId: null, storageOffset: 0 },
    { offset: 4 * PAGE, length: PAGE, buildId: BUILD_B, storageOffset: 300 * PAGE },
    { offset: 5 * PAGE, length: 3 * PAGE, buildId: BUILD_A, storageOffset: 2 * PAGE },
  ]);
});

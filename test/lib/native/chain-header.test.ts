import { expect, test } from 'vitest';
import {
  type DiskHeader,
  decodeHeader,
  encodeHeader,
  type HeaderMapping,
  summarizeHeader,
} from '../../../lib/native/chain.js';
import { rootloomError } from './chain-errors.js';

const BUILD_A = '11111111-2222-3333-4444-555555555555';
const BUILD_B = 'aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee';
const PAGE = 4096;

const golden = Buffer.from(
  [
    '0300000000000000 0010000000000000 0040000000000000 0000000000000000',
    '11111111222233334444555555555555 11111111222233334444555555555555',
    '0000000000000000 0020000000000000 11111111222233334444555555555555 0000000000000000',
    '0020000000000000 0020000000000000 00000000000000000000000000000000 0000000000000000',
  ]
    .join('')
    .replaceAll(' ', ''),
  'hex',
);

const goldenHeader: DiskHeader = {
  version: 3,
  blockSize: PAGE,
  size: 4 * PAGE,
  generation: 0,
  buildId: BUILD_A,
  baseBuildId: BUILD_A,
  incomplete: false,
  mappings: [
    { offset: 0, length: 2 * PAGE, buildId: BUILD_A, storageOffset: 0 },
    { offset: 2 * PAGE, length: 2 * PAGE, buildId: null, storageOffset: 0 },
  ],
  builds: [],
};

const framedHeader: DiskHeader = {
  ...goldenHeader,
  version: 5,
  generation: 7,
  baseBuildId: BUILD_B,
  size: 8 * PAGE,
  incomplete: true,
  mappings: [
    { offset: 0, length: 2 * PAGE, buildId: BUILD_B, storageOffset: 300 * PAGE },
    { offset: 2 * PAGE, length: 5 * PAGE, buildId: null, storageOffset: 0 },
    { offset: 7 * PAGE, length: PAGE, buildId: BUILD_A, storageOffset: 0 },
  ],
  builds: [
    { buildId: BUILD_A, size: PAGE, sha256: 'ab'.repeat(32), compression: 'none', frames: [] },
    {
      buildId: BUILD_B,
      size: null,
      sha256: null,
      compression: 'zstd',
      frames: [{ offset: 300 * PAGE, length: 2 * PAGE, storedOffset: 123, storedLength: 45 }],
    },
  ],
};

test('decodeHeader reads the golden header of version 3, and encodeHeader writes it', () => {
  expect(decodeHeader(golden)).toEqual(goldenHeader);
  expect(encodeHeader(goldenHeader)).toEqual(golden);
});

test.each([4, 5])('encodeHeader and decodeHeader agree on everything that version %i says', (version) => {
  const header = { ...framedHeader, version };
  expect(decodeHeader(encodeHeader(header))).toEqual(header);
});

test('encodeHeader joins neighbours and takes UUIDs of either case', () => {
  const header = {
    ...goldenHeader,
    mappings: [
      { offset: 0, length: PAGE, buildId: BUILD_A.toUpperCase(), storageOffset: 0 },
      { offset: PAGE, length: PAGE, buildId: BUILD_A, storageOffset: PAGE },
      { offset: 2 * PAGE, length: 2 * PAGE, buildId: null, storageOffset: 0 },
    ],
  };
  expect(encodeHeader(header)).toEqual(golden);
});

test('summarizeHeader says what decodeHeader says, with the mappings summed up', async () => {
  const { mappings, ...facts } = goldenHeader;
  const { mappingCount, sources, ...summary } = await summarizeHeader(golden);
  expect(summary).toEqual(facts);
  expect(mappingCount).toBe(mappings.length);
  const wanted = new Map<string, { mappedBytes: number; endBytes: number }>();
  for (const { buildId, length, storageOffset } of mappings) {
    if (buildId === null) continue;
    const { mappedBytes, endBytes } = wanted.get(buildId) ?? { mappedBytes: 0, endBytes: 0 };
    wanted.set(buildId, {
      mappedBytes: mappedBytes + length,
      endBytes: Math.max(endBytes, storageOffset + length),
    });
  }
  expect(sources).toEqual([...wanted].map(([buildId, use]) => ({ buildId, ...use })));
  await expect(summarizeHeader(golden.subarray(0, 70))).rejects.toEqual(rootloomError('CORRUPT'));
});

test('decodeHeader tells damage from what it does not know', () => {
  for (let length = 0; length < golden.length; length += 1) {
    if (length === 64) continue; // The prefix alone is a header: all of the device is its own.
    expect(() => decodeHeader(golden.subarray(0, length))).toThrow(rootloomError('CORRUPT'));
  }
  const unknown = Buffer.from(golden);
  unknown.writeUInt16LE(6);
  expect(() => decodeHeader(unknown)).toThrow(rootloomError('UNSUPPORTED'));
  const framed = encodeHeader(framedHeader);
  for (let at = 69; at < framed.length; at += 1) {
    const damaged = Buffer.from(framed);
    damaged.writeUInt8(damaged.readUInt8(at) ^ 0x10, at);
    expect(() => decodeHeader(damaged)).toThrow(rootloomError());
  }
});

test('decodeHeader takes any Uint8Array and nothing else', () => {
  expect(decodeHeader(new Uint8Array(golden).subarray(0))).toEqual(goldenHeader);
  expect(() => decodeHeader('header' as unknown as Uint8Array)).toThrow(TypeError);
});

test('encodeHeader refuses headers that break the rules', () => {
  const [first, second] = goldenHeader.mappings as [HeaderMapping, HeaderMapping];
  const broken: Partial<DiskHeader>[] = [
    { mappings: [first] },
    { mappings: [second, first] },
    { version: 6 },
    { blockSize: 1000 },
    { buildId: '00000000-0000-0000-0000-000000000000' },
    { incomplete: true },
    { builds: framedHeader.builds },
    { version: 4, builds: [{ buildId: BUILD_A, size: PAGE, sha256: null, compression: 'none', frames: [] }] },
  ];
  for (const change of broken) {
    expect(() => encodeHeader({ ...goldenHeader, ...change })).toThrow(rootloomError('INVALID_ARGUMENT'));
  }
});

test('encodeHeader throws for arguments that are no header at all', () => {
  const [first, second] = goldenHeader.mappings as [HeaderMapping, HeaderMapping];
  const wrong: Partial<DiskHeader>[] = [
    { mappings: [{ ...first, length: 100 }, second] },
    { mappings: [{ ...first, storageOffset: -PAGE }, second] },
    { mappings: [{ ...first, buildId: 'not a UUID' }, second] },
    { buildId: 'nor this' },
    { size: -1 },
    { size: 1.5 },
    { builds: [{ buildId: BUILD_A, size: PAGE, sha256: 'abc', compression: 'none', frames: [] }] },
  ];
  for (const change of wrong) {
    expect(() => encodeHeader({ ...goldenHeader, ...change })).toThrow(RangeError);
  }
  expect(() => encodeHeader({ ...goldenHeader, size: '1' as unknown as number })).toThrow(TypeError);
});

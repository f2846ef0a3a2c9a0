import { randomUUID } from 'node:crypto';
import { expect, test } from 'vitest';
import { describeBuild, parseMetadata } from '../../../lib/artifact/metadata.js';
import { digestBytes } from '../../../lib/util/digest.js';

const id = randomUUID();
const parse = (value: unknown) => parseMetadata(Buffer.from(JSON.stringify(value)), id);
const record = { size: 4096, diffBytes: 0, headerSha256: digestBytes('') };

test.each([{}, { version: 'x' }, { version: null }, { version: 1 }, { version: 0 }, { version: '2' }])(
  'parseMetadata drops all else of %j',
  (head) => {
    expect(parse({ ...head, template: { build_id: id }, rootloom: { formatVersion: 99 } })).toEqual({
      version: 1,
    });
  },
);

test('parseMetadata reads the fields of the reference and drops unknown ones', () => {
  const metadata = {
    version: 2,
    template: { build_id: id, kernel_version: 'k', firecracker_version: 'f' },
    context: { user: 'root', env_vars: { A: 'b' } },
    start: { start_command: 's', ready_command: 'r', context: {} },
    from_template: { alias: 'a', build_id: id },
    prefetch: { memory: { indices: [1, 2], access_types: ['r', 'w'], block_size: 4096 } },
    cmdline_args: { quiet: '' },
    filesystem_only: true,
    fs_quiesced: true,
  };
  expect(parse({ ...metadata, later: 1, template: { ...metadata.template, later: 1 } })).toEqual(metadata);
  expect(parse({ version: 3, template: { build_id: id }, start: null, context: null }).version).toBe(3);
});

test('parseMetadata tells damage from a later format', () => {
  expect(() => parseMetadata(Buffer.from('{'), id)).toThrow(expect.objectContaining({ code: 'CORRUPT' }));
  for (const value of [[], 'x', { version: 2 }, { version: 2.5, template: { build_id: id } }]) {
    expect(() => parse(value)).toThrow(expect.objectContaining({ code: 'CORRUPT' }));
  }
  const broken = { version: 2, template: { build_id: id }, rootloom: { formatVersion: 1 } };
  expect(() => parse(broken)).toThrow(expect.objectContaining({ code: 'CORRUPT' }));
  const later = { ...broken, rootloom: { formatVersion: 2 } };
  expect(() => parse(later)).toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }));
});

test('describeBuild makes what parseMetadata reads', () => {
  const metadata = describeBuild(
    id,
    {
      phase: 'template',
      layerHash: digestBytes('layer'),
      cacheScope: 'team',
      parentBuildId: id,
      strategy: 'resize',
      image: { reference: 'oci:x', digest: `sha256:${digestBytes('image')}` },
      vm: { driver: 'qemu', machine: { cpus: 2 } },
      clean: { headerSha256: record.headerSha256, superblockSha256: record.headerSha256 },
      reference: { kernel_version: '6.1', context: { user: 'root' } },
    },
    { disk: record, memory: record },
  );
  expect(parse(metadata)).toEqual(metadata);
  expect(metadata).toMatchObject({
    version: 2,
    template: { build_id: id, kernel_version: '6.1', firecracker_version: '' },
    from_image: 'oci:x',
    filesystem_only: true,
    rootloom: {
      formatVersion: 1,
      disk: { clean: { superblockSha256: record.headerSha256 } },
      memory: record,
    },
  });
});

test('describeBuild refuses a description that breaks the format', () => {
  expect(() => describeBuild(id, { phase: 'base', layerHash: 'x' }, { disk: record })).toThrow(TypeError);
  expect(() => describeBuild(id, { phase: 'other' as 'base' }, { disk: record })).toThrow(TypeError);
});

/** Which room may import which: docs/architecture.md's table, as data. */

export interface RoomRule {
  /** The folder (or file without its ending) that the rule is about. */
  room: string;
  /** The rooms that it may import besides itself. */
  may: readonly string[];
  /** Packages or system headers that only this room may import. */
  owns?: readonly RegExp[];
}

export const NATIVE_ROOMS: readonly RoomRule[] = [
  { room: 'native/util', may: [] },
  { room: 'native/block', may: ['native/util'] },
  { room: 'native/chain', may: ['native/util', 'native/block'], owns: [/^lz4/, /^zstd/] },
  { room: 'native/nbd', may: ['native/util', 'native/block/device.h'] },
  {
    room: 'native/ext4',
    may: ['native/util', 'native/block/device.h'],
    owns: [/^ext2fs\//, /^et\//, /^archive/, /^e2p\//, /^uuid\//],
  },
  {
    room: 'native/isolation',
    may: ['native/util', 'native/block', 'native/nbd', 'native/ext4'],
    owns: [/^seccomp/],
  },
  { room: 'native/keeper', may: ['native/util'] },
  {
    room: 'native/binding',
    may: ['native/util', 'native/block', 'native/chain', 'native/nbd', 'native/ext4', 'native/isolation'],
    owns: [/^napi/, /^node_api/],
  },
];

export const LIB_ROOMS: readonly RoomRule[] = [
  { room: 'lib/errors', may: [] },
  { room: 'lib/util', may: ['lib/errors'] },
  { room: 'lib/native', may: ['lib/errors', 'lib/util'], owns: [/^node-gyp-build$/] },
  { room: 'lib/storage', may: ['lib/errors', 'lib/util'] },
  { room: 'lib/oci', may: ['lib/errors', 'lib/util'] },
  { room: 'lib/artifact', may: ['lib/errors', 'lib/util', 'lib/native', 'lib/storage'] },
  { room: 'lib/rootfs', may: ['lib/errors', 'lib/util', 'lib/native', 'lib/storage', 'lib/artifact'] },
  { room: 'lib/vm', may: ['lib/errors', 'lib/util', 'lib/native'] },
  {
    room: 'lib/build',
    may: [
      'lib/errors',
      'lib/util',
      'lib/native',
      'lib/storage',
      'lib/oci',
      'lib/artifact',
      'lib/rootfs',
      'lib/vm',
    ],
  },
  {
    room: 'lib/index',
    may: [
      'lib/errors',
      'lib/util',
      'lib/native',
      'lib/storage',
      'lib/oci',
      'lib/artifact',
      'lib/rootfs',
      'lib/vm',
      'lib/build',
    ],
  },
  { room: 'lib/cli', may: ['lib/index'], owns: [/^commander$/, /^listr2$/] },
];

/** A disk, and what it was when it was made: what is known of one that has not changed is not read again for the next one. */
import type { DigestSource } from '../../lib/native/ext4-tree-compare.js';
import type { FileDigest } from '../../lib/native/ext4-tree-types.js';
import { digestBytes, digestFile } from '../../lib/util/digest.js';
import type { Chain } from './step.js';

export interface Disk {
  chain: Chain;
  fingerprint: Fingerprint;
  files: FileDigest[];
}

/** Of the bytes of a disk: digests of its header and of the diffs by their builds. */
export interface Fingerprint {
  header: string;
  diffs: Record<string, string>;
}

/** Reads the diffs that are not `known`. */
export async function takeFingerprint(
  { header, diffs }: Chain,
  known: Fingerprint['diffs'] = {},
): Promise<Fingerprint> {
  const digests = Object.entries(diffs).map(async ([build, { path }]): Promise<[string, string]> => {
    return [build, known[build] ?? (await digestFile(path)).hex];
  });
  return { header: digestBytes(header), diffs: Object.fromEntries(await Promise.all(digests)) };
}

/** Gives what a tree gives, and keeps it in `files`. */
export function recording(tree: DigestSource, files: FileDigest[]): DigestSource {
  return {
    async *digest(root, options) {
      for await (const file of tree.digest(root, options)) {
        files.push(file);
        yield file;
      }
    },
  };
}

/** A whole tree, as it was recorded. */
export function recorded(files: readonly FileDigest[]): DigestSource {
  return {
    async *digest() {
      yield* files;
    },
  };
}

/** Trees whose digests are kept, so that a tree that has not changed is not read again to be compared with the next one. */
import type { DigestSource } from '../../lib/native/ext4-tree-compare.js';
import type { FileDigest } from '../../lib/native/ext4-tree-types.js';

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

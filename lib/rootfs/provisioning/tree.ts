/** Writes provisioning files straight into the ext4 of a template's disk. */
import path from 'node:path';
import { isRootloomError, RootloomError } from '../../errors.js';
import { PROVISIONING_TIME, type ProvisioningFile } from './files.js';

interface Attributes {
  mode: number;
  uid: number;
  gid: number;
  mtimeNs: bigint;
  replace: true;
  signal?: AbortSignal | undefined;
}

/** What is needed of an open tree; `Ext4Tree` is one. */
export interface WritableTree {
  mkdir(path: string, options: { recursive: true; signal?: AbortSignal | undefined }): Promise<void>;
  writeFile(path: string, data: Uint8Array, options: Attributes): Promise<void>;
  symlink(target: string, path: string, options: Attributes): Promise<void>;
}

async function writeOne(tree: WritableTree, file: ProvisioningFile, signal?: AbortSignal): Promise<void> {
  const { mode, uid, gid } = file;
  const attributes = {
    mode,
    uid,
    gid,
    mtimeNs: BigInt(PROVISIONING_TIME) * 1_000_000_000n,
    replace: true,
    signal,
  } as const;
  const folder = path.posix.dirname(file.path);
  if (folder !== '.') await tree.mkdir(folder, { recursive: true, signal });
  if (file.content !== undefined) await tree.writeFile(file.path, file.content, attributes);
  else await tree.symlink(file.linkTarget, file.path, attributes);
}

/**
 * Puts every file of the set in the place of whatever file or link is there; missing folders are made root's, 0755.
 *
 * Rejects at the first file that cannot be written, because a folder is in its place, say, with the tree's own code and
 * that file's path; the files before it are written by then. Rejects with `signal.reason` when aborted.
 */
export async function writeProvisioningFiles(
  tree: WritableTree,
  files: readonly ProvisioningFile[],
  { signal }: { signal?: AbortSignal | undefined } = {},
): Promise<void> {
  for (const file of files) {
    signal?.throwIfAborted();
    try {
      await writeOne(tree, file, signal);
    } catch (cause) {
      if (!isRootloomError(cause)) throw cause;
      throw new RootloomError(
        cause.code,
        `Cannot write the provisioning file ${file.path} (${file.purpose}): ${cause.message}`,
        { ...cause.context, operation: 'write provisioning files', path: file.path },
        { cause },
      );
    }
  }
}

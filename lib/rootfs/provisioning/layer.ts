/**
 * Writes provisioning files as the last layer of an OCI image: a POSIX tar archive.
 *
 * Only files and links are in it. Folders that the image lacks are made by whoever applies the layer, root-owned with mode
 * 0755; naming them here would reset those that the image has.
 */
import { buffer } from 'node:stream/consumers';
import { type Pack, pack } from 'tar-stream';
import { PROVISIONING_TIME, type ProvisioningFile } from './files.js';

function addEntry(archive: Pack, { path, mode, uid, gid, content, linkTarget }: ProvisioningFile): void {
  const entry = { name: path, mode, uid, gid, mtime: new Date(PROVISIONING_TIME * 1000) };
  if (content === undefined) archive.entry({ ...entry, type: 'symlink', linkname: linkTarget });
  else archive.entry(entry, content);
}

/** The uncompressed tar archive of a set. The same set gives the same bytes. */
export async function encodeProvisioningLayer(files: readonly ProvisioningFile[]): Promise<Buffer> {
  const archive = pack();
  for (const file of files) addEntry(archive, file);
  archive.finalize();
  return buffer(archive);
}

/** A tree of files on a mounted filesystem, and what is in it. */
import { createHash, randomBytes } from 'node:crypto';
import { link, lstat, mkdir, open, readdir, readFile, readlink, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';

/** Writes some 20 MiB in files of many sizes, with links, holes, owners, modes and attributes, and makes them durable. */
export async function fillTree(folder: string): Promise<void> {
  for (let index = 0; index < 24; index += 1) {
    const place = path.join(folder, `folder-${index % 6}`, `${index}`);
    await mkdir(place, { recursive: true });
    await writeFile(path.join(place, 'file'), randomBytes(1 + index * index * 3500));
  }
  await writeFile(path.join(folder, 'empty'), '');
  await link(path.join(folder, 'empty'), path.join(folder, 'hard-link'));
  await symlink('folder-1/1/file', path.join(folder, 'symbolic-link'));
  const sparse = await open(path.join(folder, 'sparse'), 'wx', 0o640);
  await sparse.write('end', 40 * 1024 ** 2);
  await sparse.sync();
  await sparse.chown(1000, 1001);
  await sparse.close();
  await execa('setfattr', ['-n', 'user.rootloom', '-v', 'value', path.join(folder, 'empty')]);
  await execa('sync', ['-f', folder]);
}

/** For each path what can be read there: kind, mode, owner, and content as a digest. */
export async function describeTree(folder: string): Promise<Record<string, string>> {
  const description: Record<string, string> = {};
  for (const name of (await readdir(folder, { recursive: true })).sort()) {
    const place = path.join(folder, name);
    const info = await lstat(place);
    const facts = [info.mode.toString(8), info.uid, info.gid, info.nlink];
    if (info.isSymbolicLink()) facts.push(await readlink(place));
    if (info.isFile()) {
      facts.push(
        info.size,
        createHash('sha256')
          .update(await readFile(place))
          .digest('hex'),
      );
    }
    description[name] = facts.join(' ');
  }
  return description;
}

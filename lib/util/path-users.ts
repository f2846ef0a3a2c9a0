/** Which processes use files below a folder, or a device, as far as /proc tells. */
import { readdir, readFile, readlink } from 'node:fs/promises';

export interface PathUser {
  pid: number;
  /** Of the program, as the kernel keeps it: at most 15 bytes. */
  name: string;
  /** The first use that was found. */
  use: 'root folder' | 'working folder' | 'program' | 'open file' | 'mapped file';
}

const isBelow = (path: string, top: string) => path === top || path.startsWith(top === '/' ? '/' : `${top}/`);

/** Only what the kernel knows by heart is read, never the files themselves: the device below them may be dead. */
async function findUse(folder: string, top: string): Promise<PathUser['use'] | undefined> {
  const target = (name: string) => readlink(`${folder}/${name}`).catch(() => '');
  if (isBelow(await target('cwd'), top)) return 'working folder';
  if (top !== '/' && isBelow(await target('root'), top)) return 'root folder';
  if (isBelow(await target('exe'), top)) return 'program';
  for (const descriptor of await readdir(`${folder}/fd`).catch(() => [])) {
    if (isBelow(await target(`fd/${descriptor}`), top)) return 'open file';
  }
  for (const line of (await readFile(`${folder}/maps`, 'utf8').catch(() => '')).split('\n')) {
    const slash = line.indexOf('/');
    if (slash >= 0 && isBelow(line.slice(slash), top)) return 'mapped file';
  }
  return undefined;
}

/**
 * The other processes that use `top` or something below it, in the order of their ids. Those of other users are not seen
 * without root, and those of another mount namespace only when it has the same path.
 */
export async function findPathUsers(top: string): Promise<PathUser[]> {
  const users: PathUser[] = [];
  const ids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  for (const pid of ids.sort((a, b) => a - b)) {
    if (pid === process.pid) continue;
    const use = await findUse(`/proc/${pid}`, top);
    if (use === undefined) continue;
    const name = (await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')).trimEnd();
    users.push({ pid, name, use });
  }
  return users;
}

/** Processes of the system, found by what their command line has in it. */
import { readdir, readFile } from 'node:fs/promises';

/** The ids of the processes (not zombies) one of whose arguments contains `text`. */
export async function findProcesses(text: string): Promise<number[]> {
  const ids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const found: number[] = [];
  for (const id of ids) {
    const commandLine = await readFile(`/proc/${id}/cmdline`, 'utf8').catch(() => '');
    if (commandLine.includes(text)) found.push(Number(id));
  }
  return found;
}

/** The ids of a process's children. */
export async function findChildren(pid: number): Promise<number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '');
  return text.split(' ').filter(Boolean).map(Number);
}

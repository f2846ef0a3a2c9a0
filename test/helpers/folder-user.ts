/** A process that works in a folder, and so keeps what is mounted there. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { onTestFinished } from 'vitest';

export interface FolderUser {
  pid: number;
  /** Resolves when it has gone. */
  stop(): Promise<void>;
}

/** Starts one, called "sleep"; stopped at the latest when the test ends. */
export async function startFolderUser(cwd: string): Promise<FolderUser> {
  const child = spawn('sh', ['-c', 'echo; exec sleep 1000'], { cwd, stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(child, 'exit');
  await once(child.stdout, 'data');
  const stop = async () => {
    child.kill('SIGKILL');
    await ended;
  };
  onTestFinished(stop);
  return { pid: child.pid as number, stop };
}

/** A temporary folder for this test file's machines alone, so that it can be told whether any of them has outlived its owner. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll } from 'vitest';
import { listIfThere } from '../../lib/util/lookup.js';
import { findProcesses } from './processes.js';

export interface MachineArea {
  /** What TMPDIR is while the file's tests run. */
  readonly path: string;
  /** Processes that have to do with this area, and run directories in it. Nothing runs: both empty. */
  leftovers(): Promise<{ processes: number[]; folders: string[] }>;
}

/** To be called at the top of a test file. */
export function useMachineArea(): MachineArea {
  const systemArea = process.env.TMPDIR;
  const area = {
    path: '',
    async leftovers() {
      const folders: string[] = [];
      for (const name of await listIfThere(area.path)) {
        if (!/^rootloom-\d+$/.test(name)) continue;
        folders.push(...(await listIfThere(path.join(area.path, name))).filter((entry) => entry !== 'lock'));
      }
      const processes = (await findProcesses(area.path)).filter((id) => id !== process.pid);
      return { processes, folders };
    },
  };
  beforeAll(async () => {
    area.path = await mkdtemp(path.join(tmpdir(), 'rl-'));
    process.env.TMPDIR = area.path;
  });
  afterAll(async () => {
    if (systemArea === undefined) delete process.env.TMPDIR;
    else process.env.TMPDIR = systemArea;
    await rm(area.path, { recursive: true, force: true });
  });
  return area;
}

/** The folder of a snapshot: "state", "memory" and "machine.json". */
import { link, mkdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { copyDeviceToFile, openFileDevice } from '../native/device.js';
import { readJsonFile, writeJsonAtomically } from '../util/atomic-file.js';
import { isSystemError, withSystemErrors } from '../util/system-error.js';
import type { VmSnapshot } from './driver.js';
import { type MachineDescription, machineDescription } from './machine.js';

interface SnapshotFiles {
  stateFile: string;
  memoryFile: string;
  machineFile: string;
}

function filesIn(dir: string): SnapshotFiles {
  const folder = path.resolve(dir);
  return {
    stateFile: path.join(folder, 'state'),
    memoryFile: path.join(folder, 'memory'),
    machineFile: path.join(folder, 'machine.json'),
  };
}

/** Reads the description of a snapshot. Rejects with NOT_FOUND or CORRUPT; state and memory are looked at by `restore`. */
export async function openSnapshot(dir: string): Promise<VmSnapshot> {
  const { stateFile, memoryFile, machineFile } = filesIn(dir);
  const machine = await readJsonFile(machineFile, machineDescription, `the snapshot in ${dir}`);
  return { machine, stateFile, memoryFile };
}

/** Has `body` write state and memory, and describes them. When that fails none of the files is left. */
export async function writeSnapshot(
  dir: string,
  machine: MachineDescription,
  body: (files: SnapshotFiles) => Promise<void>,
): Promise<VmSnapshot> {
  const files = filesIn(dir);
  const { stateFile, memoryFile, machineFile } = files;
  await withSystemErrors('create', dir, () => mkdir(dir, { recursive: true }));
  try {
    await body(files);
    await writeJsonAtomically(machineFile, machine);
    return { machine, stateFile, memoryFile };
  } catch (error) {
    for (const file of Object.values(files)) await rm(file, { force: true });
    throw error;
  }
}

/** `take` gives the memory file a second name, where that is possible; everything else is a sparse copy. */
export async function captureMemory(
  source: string,
  target: string,
  how: 'take' | 'copy',
  signal: AbortSignal | undefined,
): Promise<void> {
  if (how === 'take' && (await linkFile(source, target))) return;
  await using device = await openFileDevice(source, { signal });
  await copyDeviceToFile(device, target, { signal });
}

/** False when the two would be on different filesystems, or on one without links. */
async function linkFile(source: string, target: string): Promise<boolean> {
  return withSystemErrors('write', target, async () => {
    try {
      await link(source, target);
      return true;
    } catch (error) {
      if (isSystemError(error, 'EXDEV', 'EPERM')) return false;
      throw error;
    }
  });
}

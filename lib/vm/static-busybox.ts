/** The busybox that an initramfs runs on, which has no library to load. */
import { readFile } from 'node:fs/promises';
import { RootloomError } from '../errors.js';
import { withSystemErrors } from '../util/system-error.js';
import { findTool } from './tool.js';

const ELF_MAGIC = Buffer.from('\x7fELF', 'latin1');

/** The type of the program header that names a dynamic loader. */
const PT_INTERP = 3;

/** Reads the busybox at `file`, by default the one on PATH. Rejects with TOOL_MISSING when there is none that is static. */
export async function readStaticBusybox(file?: string): Promise<Buffer> {
  const operation = 'make an initramfs';
  const found = file ?? (await findTool('busybox', operation));
  const program = await withSystemErrors('read', found, () => readFile(found));
  if (!namesLoader(program)) return program;
  const message = `Cannot ${operation}: ${found} is not a static program, Debian has one in the package busybox-static`;
  throw new RootloomError('TOOL_MISSING', message, { operation, path: found });
}

/** True also for what is no 64-bit ELF program at all. */
function namesLoader(program: Buffer): boolean {
  if (program.length < 64 || !program.subarray(0, 4).equals(ELF_MAGIC) || program[4] !== 2) return true;
  const tableOffset = Number(program.readBigUInt64LE(32));
  const entryBytes = program.readUInt16LE(54);
  const entryCount = program.readUInt16LE(56);
  if (tableOffset + entryBytes * entryCount > program.length) return true;
  for (let index = 0; index < entryCount; index += 1) {
    if (program.readUInt32LE(tableOffset + index * entryBytes) === PT_INTERP) return true;
  }
  return false;
}

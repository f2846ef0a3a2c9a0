/** The busybox that initramfs and provisioning boot run on: one that needs no library of an image. */
import { readFile } from 'node:fs/promises';
import { RootloomError } from '../errors.js';
import { withSystemErrors } from './system-error.js';
import { findTool } from './tool.js';

const ELF_MAGIC = Buffer.from('\x7fELF', 'latin1');
const ELF_CLASS_64 = 2;
const ELF_LITTLE_ENDIAN = 1;

/** The type of the program header that names a dynamic loader. */
const PT_INTERP = 3;

/** True for a 64-bit little-endian ELF program that the kernel starts without a dynamic loader. */
export function isStaticProgram(file: Buffer): boolean {
  if (file.length < 64 || !file.subarray(0, 4).equals(ELF_MAGIC)) return false;
  if (file[4] !== ELF_CLASS_64 || file[5] !== ELF_LITTLE_ENDIAN) return false;
  const tableOffset = Number(file.readBigUInt64LE(32));
  const entryBytes = file.readUInt16LE(54);
  const entryCount = file.readUInt16LE(56);
  if (tableOffset + entryBytes * entryCount > file.length) return false;
  for (let index = 0; index < entryCount; index += 1) {
    if (file.readUInt32LE(tableOffset + index * entryBytes) === PT_INTERP) return false;
  }
  return true;
}

/**
 * Reads the busybox at `file`, by default the one on PATH. Rejects with TOOL_MISSING when there is none that is static; IO.
 *
 * @param operation What it is needed for, as it follows "Cannot".
 */
export async function readStaticBusybox(operation: string, file?: string): Promise<Buffer> {
  const found = file ?? (await findTool('busybox', operation));
  const program = await withSystemErrors('read', found, () => readFile(found));
  if (isStaticProgram(program)) return program;
  const message = `Cannot ${operation}: ${found} is not a static program, Debian has one in the package busybox-static`;
  throw new RootloomError('TOOL_MISSING', message, { operation, path: found });
}

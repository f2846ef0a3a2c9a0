/** The busybox that the provisioning boot runs on: one that needs no library of the image. */
import { access, constants, readFile } from 'node:fs/promises';
import path from 'node:path';
import { RootloomError } from '../../errors.js';
import { withSystemErrors } from '../../util/system-error.js';

const ELF_MAGIC = Buffer.from([0x7f, 0x45, 0x4c, 0x46]);
/** The program header that names a dynamic loader. */
const PT_INTERP = 3;

/** True for a 64-bit little-endian ELF program that the kernel starts without a dynamic loader. */
export function isStaticProgram(file: Buffer): boolean {
  if (file.length < 64 || !file.subarray(0, 4).equals(ELF_MAGIC) || file[4] !== 2 || file[5] !== 1)
    return false;
  const tableOffset = Number(file.readBigUInt64LE(32));
  const entryBytes = file.readUInt16LE(54);
  const count = file.readUInt16LE(56);
  if (entryBytes < 56 || tableOffset + count * entryBytes > file.length) return false;
  return Array.from({ length: count }, (_, index) =>
    file.readUInt32LE(tableOffset + index * entryBytes),
  ).every((type) => type !== PT_INTERP);
}

async function findOnPath(program: string): Promise<string> {
  for (const folder of (process.env.PATH ?? '').split(path.delimiter)) {
    const candidate = path.join(folder, program);
    if (
      folder !== '' &&
      (await access(candidate, constants.X_OK).then(
        () => true,
        () => false,
      ))
    )
      return candidate;
  }
  throw new RootloomError(
    'TOOL_MISSING',
    `Cannot find ${program}: it is not on PATH, the package busybox-static was wanted`,
    { operation: 'prepare provisioning', path: program },
  );
}

/**
 * Reads the busybox at `file`, by default the one on PATH.
 *
 * @throws RootloomError TOOL_MISSING when there is none, or when it is linked dynamically.
 */
export async function readStaticBusybox(file?: string): Promise<Buffer> {
  const found = file ?? (await findOnPath('busybox'));
  const content = await withSystemErrors('read busybox at', found, () => readFile(found));
  if (!isStaticProgram(content)) {
    throw new RootloomError(
      'TOOL_MISSING',
      `Cannot use busybox at ${found}: it is not a static program, the package busybox-static was wanted`,
      { operation: 'prepare provisioning', path: found },
    );
  }
  return content;
}

/** What is mounted where in this process's view, as the kernel lists it. Nothing here touches a mounted filesystem. */
import { readFile } from 'node:fs/promises';

export interface MountEntry {
  /** `major:minor` of the block device, or of the filesystem when it has none. */
  device: string;
  /** Where it is mounted, absolute. */
  path: string;
  /** The filesystem's kind: `ext4`. */
  type: string;
  /** What was mounted, as its mounter named it: `/dev/nbd0`. */
  source: string;
}

/** Blanks, newlines and backslashes in names are octal escapes of their bytes. */
function unescapeName(text: string): string {
  const bytes = text.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(parseInt(digits, 8)),
  );
  return Buffer.from(bytes, 'latin1').toString();
}

/** Reads the text of a `mountinfo`, given as latin1, for names are bytes. Lines of another form are left out. */
export function parseMountTable(text: string): MountEntry[] {
  return text.split('\n').flatMap((line) => {
    const [place = '', filesystem] = line.split(' - ', 2);
    const [, , device, , path] = place.split(' ');
    const [type, source] = filesystem?.split(' ') ?? [];
    if (device === undefined || path === undefined || type === undefined || source === undefined) return [];
    return [{ device, path: unescapeName(path), type, source: unescapeName(source) }];
  });
}

/** In the order of mounting: of several on one path, the last one is what is seen. */
export async function readMountTable(): Promise<MountEntry[]> {
  return parseMountTable(await readFile('/proc/self/mountinfo', 'latin1'));
}

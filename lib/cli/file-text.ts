/** Files of an image as text, the way `ls -l` shows them. */

interface FileText {
  type: string;
  permissions: number;
  uid: number;
  gid: number;
}

const TYPE_LETTERS: Record<string, string> = {
  regular: '-',
  directory: 'd',
  symlink: 'l',
  characterDevice: 'c',
  blockDevice: 'b',
  fifo: 'p',
  socket: 's',
};

function triple(bits: number, special: boolean, letter: string): string {
  const execute = (bits & 1) !== 0;
  const last = special ? (execute ? letter : letter.toUpperCase()) : execute ? 'x' : '-';
  return `${bits & 4 ? 'r' : '-'}${bits & 2 ? 'w' : '-'}${last}`;
}

/** "drwxr-xr-t". */
export function formatMode({ type, permissions }: Pick<FileText, 'type' | 'permissions'>): string {
  const owner = triple(permissions >> 6, (permissions & 0o4000) !== 0, 's');
  const group = triple(permissions >> 3, (permissions & 0o2000) !== 0, 's');
  const others = triple(permissions, (permissions & 0o1000) !== 0, 't');
  return `${TYPE_LETTERS[type] ?? '?'}${owner}${group}${others}`;
}

export function ownerText({ uid, gid }: Pick<FileText, 'uid' | 'gid'>): string {
  return `${uid}:${gid}`;
}

/** A name that cannot disturb a terminal: control characters are shown as escapes. */
export function formatName(name: string): string {
  const isPlain = [...name].every((character) => character >= ' ' && character !== '\x7f');
  return isPlain ? name : JSON.stringify(name);
}

/** Files of an image as text, the way `ls -l` shows them. */
import type { FileStat, FileType } from '../index.js';

const TYPE_LETTERS: Record<FileType, string> = {
  file: '-',
  directory: 'd',
  symlink: 'l',
  'character-device': 'c',
  'block-device': 'b',
  fifo: 'p',
  socket: 's',
};

function triple(bits: number, special: boolean, letter: string): string {
  const execute = (bits & 1) !== 0;
  const last = special ? (execute ? letter : letter.toUpperCase()) : execute ? 'x' : '-';
  return `${bits & 4 ? 'r' : '-'}${bits & 2 ? 'w' : '-'}${last}`;
}

/** "drwxr-xr-t". */
export function formatMode({ type, mode }: Pick<FileStat, 'type' | 'mode'>): string {
  const owner = triple(mode >> 6, (mode & 0o4000) !== 0, 's');
  const group = triple(mode >> 3, (mode & 0o2000) !== 0, 's');
  const others = triple(mode, (mode & 0o1000) !== 0, 't');
  return `${TYPE_LETTERS[type]}${owner}${group}${others}`;
}

export function formatOwner({ uid, gid }: Pick<FileStat, 'uid' | 'gid'>): string {
  return `${uid}:${gid}`;
}

/** ISO 8601 with all nine digits; ext4 keeps them. */
export function formatTime(nanoseconds: bigint): string {
  const seconds = nanoseconds / 1_000_000_000n - (nanoseconds % 1_000_000_000n < 0n ? 1n : 0n);
  const rest = nanoseconds - seconds * 1_000_000_000n;
  const date = new Date(Number(seconds) * 1000).toISOString();
  return date.replace('.000Z', `.${rest.toString().padStart(9, '0')}Z`);
}

/** A name that cannot disturb a terminal: when it has control characters it is shown with escapes, in quotes. */
export function formatName(name: string): string {
  return /\p{Cc}/u.test(name) ? JSON.stringify(name).replace(/[\x7f-\x9f]/g, escapeCharacter) : name;
}

/** The control characters that JSON leaves as they are. */
function escapeCharacter(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

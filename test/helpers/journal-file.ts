/** A journald file, byte by byte: what systemd writes before the first message is in it. */

const HEADER_BYTES = 256;
const TABLE_ITEMS = 16;
const TABLE_BYTES = 16 + TABLE_ITEMS * 16;
const FIELD_HASH_TABLE = 5;
const DATA_HASH_TABLE = 4;

/** journalctl --verify passes it, and does not pass it when it claims to hold one object more than it does. */
export function makeJournalFile({ damaged = false } = {}): Buffer {
  const file = Buffer.alloc(HEADER_BYTES + 2 * TABLE_BYTES);
  const put = (offset: number, value: number) => file.writeBigUInt64LE(BigInt(value), offset);
  const fields = HEADER_BYTES;
  const data = HEADER_BYTES + TABLE_BYTES;
  file.write('LPKSHHRH', 0);
  file.fill(0x11, 24, 88); // The ids of file, machine, boot and sequence.
  const numbers = [
    HEADER_BYTES,
    2 * TABLE_BYTES,
    data + 16,
    TABLE_ITEMS * 16,
    fields + 16,
    TABLE_ITEMS * 16,
    data,
  ];
  for (const [index, number] of [...numbers, damaged ? 3 : 2].entries()) put(88 + 8 * index, number);
  file[fields] = FIELD_HASH_TABLE;
  put(fields + 8, TABLE_BYTES);
  file[data] = DATA_HASH_TABLE;
  put(data + 8, TABLE_BYTES);
  return file;
}

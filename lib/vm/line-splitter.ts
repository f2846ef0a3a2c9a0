/** Cuts a stream of bytes into lines: for consoles, and for protocols of one JSON value a line. */

const NEWLINE = 0x0a;

/**
 * Calls `onLine` with each line, without its newline. A line longer than `maxBytes` is handed over in pieces of that size, so
 * that a guest that never ends a line cannot fill the memory.
 */
export class LineSplitter {
  #parts: Buffer[] = [];
  #length = 0;

  constructor(
    private readonly maxBytes: number,
    private readonly onLine: (line: Buffer) => void,
  ) {}

  push(chunk: Buffer): void {
    let rest = chunk;
    for (;;) {
      const end = rest.indexOf(NEWLINE);
      const available = end < 0 ? rest.length : end;
      const room = this.maxBytes - this.#length;
      if (available > room) {
        this.#keep(rest.subarray(0, room));
        this.#emit();
        rest = rest.subarray(room);
        continue;
      }
      this.#keep(rest.subarray(0, available));
      if (end < 0) return;
      this.#emit();
      rest = rest.subarray(end + 1);
    }
  }

  /** Hands over what came after the last newline, if anything did. */
  end(): void {
    if (this.#length > 0) this.#emit();
  }

  #keep(part: Buffer): void {
    if (part.length === 0) return;
    this.#parts.push(part);
    this.#length += part.length;
  }

  #emit(): void {
    const line = this.#parts.length === 1 ? (this.#parts[0] as Buffer) : Buffer.concat(this.#parts);
    this.#parts = [];
    this.#length = 0;
    this.onLine(line);
  }
}

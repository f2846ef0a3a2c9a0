/**
 * Sizes in bytes, as people write and read them.
 *
 * One meaning for a unit: K, M, G, T, P and KiB … PiB are powers of 1024, in any case of letters. KB, MB, GB … are refused: some
 * programs mean 1000 by them and some 1024, and a disk of the wrong size is worse than a question.
 */

const UNITS = ['', 'K', 'M', 'G', 'T', 'P'] as const;
const PATTERN = /^(?<whole>\d+)(?:\.(?<fraction>\d+))?\s*(?:(?<unit>[kmgtp])(?<suffix>ib|b)?|b)?$/i;

/**
 * Reads "4096", "4G", "512MiB", "1.5 GiB".
 *
 * @returns A whole number of bytes, at most Number.MAX_SAFE_INTEGER.
 * @throws TypeError for text that is not a size; RangeError for a size that is no whole number of bytes or too large.
 */
export function parseByteSize(text: string): number {
  const groups = PATTERN.exec(text.trim())?.groups;
  if (groups === undefined) {
    throw new TypeError(
      `Cannot read the size "${text}": wanted a number of bytes, or one with a unit like 512M or 1.5GiB`,
    );
  }
  const { whole, fraction = '', suffix = '' } = groups;
  const unit = (groups.unit ?? '').toUpperCase();
  if (suffix.toUpperCase() === 'B') {
    throw new TypeError(
      `Cannot read the size "${text}": ${unit}B may mean 1000 or 1024, write ${unit} or ${unit}iB for powers of 1024`,
    );
  }
  // In whole numbers: 0.1 of a unit is not a binary fraction, and large sizes do not fit the mantissa on the way.
  const scaled = BigInt(`${whole}${fraction}`) * 1024n ** BigInt(UNITS.indexOf(unit as 'K'));
  const divisor = 10n ** BigInt(fraction.length);
  if (scaled % divisor !== 0n) {
    throw new RangeError(`Cannot read the size "${text}": it is no whole number of bytes`);
  }
  const bytes = scaled / divisor;
  if (bytes > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw new RangeError(`Cannot read the size "${text}": it is above ${Number.MAX_SAFE_INTEGER} bytes`);
  }
  return Number(bytes);
}

/** Writes a size for people: the largest unit that leaves at least 1, with up to two decimals. "1.5 GiB", "0 B". */
export function formatByteSize(bytes: number): string {
  let value = bytes;
  let index = 0;
  // Rounding 1023.999 KiB gives 1024 KiB, which is to be read as 1 MiB.
  while (Math.round(Math.abs(value) * 100) / 100 >= 1024 && index < UNITS.length - 1) {
    value /= 1024;
    index += 1;
  }
  const unit = UNITS[index];
  return `${Number(value.toFixed(2))} ${unit ? `${unit}iB` : 'B'}`;
}

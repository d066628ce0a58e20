/** Letters that parts of tokens are made of. */
export const LETTERS = {
  alnum: 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789',
  word: 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_',
  base64: 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/',
  base64url: 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_',
  base32: 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567',
  upper: 'ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789',
  lower: 'abcdefghijklmnopqrstuvwxyz0123456789',
  digits: '0123456789',
  hex: '0123456789abcdef',
  anyhex: '0123456789abcdefABCDEF',
  azure: 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.~-',
} as const;

export type LetterSet = keyof typeof LETTERS;

/** 1 for each byte that belongs. */
export type Table = Uint8Array;

export function tableOf(letters: string): Table {
  const table = new Uint8Array(256);
  for (let i = 0; i < letters.length; i++) table[letters.charCodeAt(i)] = 1;
  return table;
}

/** The tables of all sets. */
export const TABLES: Readonly<Record<LetterSet, Table>> = {
  alnum: tableOf(LETTERS.alnum),
  word: tableOf(LETTERS.word),
  base64: tableOf(LETTERS.base64),
  base64url: tableOf(LETTERS.base64url),
  base32: tableOf(LETTERS.base32),
  upper: tableOf(LETTERS.upper),
  lower: tableOf(LETTERS.lower),
  digits: tableOf(LETTERS.digits),
  hex: tableOf(LETTERS.hex),
  anyhex: tableOf(LETTERS.anyhex),
  azure: tableOf(LETTERS.azure),
};

/** How many bytes from `from` on belong, at most `most`. */
export function runFrom(data: Uint8Array, from: number, table: Table, most: number): number {
  const end = Math.min(data.length, from + most);
  let at = from;
  while (at < end && table[data[at] ?? 0] === 1) at++;
  return at - from;
}

/** How many bytes before `end` belong, at most `most`. */
export function runBefore(data: Uint8Array, end: number, table: Table, most: number): number {
  const least = Math.max(0, end - most);
  let at = end;
  while (at > least && table[data[at - 1] ?? 0] === 1) at--;
  return end - at;
}

/** A piece as text, byte by byte. */
export function textAt(data: Uint8Array, from: number, end: number): string {
  const start = Math.min(Math.max(0, from), data.length);
  const length = Math.max(0, Math.min(end, data.length) - start);
  return Buffer.from(data.buffer, data.byteOffset + start, length).toString('latin1');
}

/** Four different letters in 16, eight in 32 and more: random text has them, `xxxx…` and `000…` of documentation do not. */
const LETTERS_PER_KIND = 4;
const KINDS_MOST = 8;

/** False for what stands in manuals in place of a token: few kinds of letters, or mostly a counting sequence. */
export function looksRandom(data: Uint8Array, start: number, end: number): boolean {
  const stop = Math.min(end, start + 64);
  const length = stop - start;
  const wanted = Math.min(KINDS_MOST, length / LETTERS_PER_KIND);
  // One bit for each byte: quicker than a set, and this is asked for every prefix in a flood of them.
  const words = [0, 0, 0, 0, 0, 0, 0, 0];
  let kinds = 0;
  let steps = 0;
  for (let i = start; i < stop; i++) {
    const byte = data[i] ?? 0;
    const word = words[byte >>> 5] ?? 0;
    const bit = 1 << (byte & 31);
    if ((word & bit) === 0) kinds++;
    words[byte >>> 5] = word | bit;
    if (i > start && byte - (data[i - 1] ?? 0) === 1) steps++;
  }
  return kinds >= wanted && steps < length / 2;
}

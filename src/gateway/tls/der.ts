/** Tags of the types that certificates are made of (X.690 §8). */
const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  utf8: 0x0c,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

/** RFC 5280 §4.1.2.5: years up to 2049 are UTCTime, later ones GeneralizedTime. */
const UTC_TIME_BEFORE_YEAR = 2050;

/** One element: tag, definite length in its shortest form (X.690 §10.1), content. */
export function element(tag: number, ...content: readonly Uint8Array[]): Buffer {
  const length = content.reduce((sum, part) => sum + part.length, 0);
  return Buffer.concat([head(tag, length), ...content]);
}

export function sequence(...items: readonly Uint8Array[]): Buffer {
  return element(TAG.sequence, ...items);
}

export function set(...items: readonly Uint8Array[]): Buffer {
  return element(TAG.set, ...items);
}

/** `true`; `false` is a default wherever certificates have a boolean, and defaults are left out (X.690 §11.5). */
export function yes(): Buffer {
  return Buffer.of(TAG.boolean, 1, 0xff);
}

/** A non-negative integer of any size, most significant byte first. */
export function integer(bytes: Uint8Array): Buffer {
  let from = 0;
  while (from < bytes.length - 1 && bytes[from] === 0) from++;
  const digits = bytes.subarray(from);
  // The top bit is the sign: a positive number that has it set gets a zero in front.
  const pad = (digits[0] ?? 0) >= 0x80 ? [Uint8Array.of(0)] : [];
  return element(TAG.integer, ...pad, digits);
}

export function octetString(bytes: Uint8Array): Buffer {
  return element(TAG.octetString, bytes);
}

/** A bit string; `unused` low bits of its last byte do not count. */
export function bitString(bytes: Uint8Array, unused = 0): Buffer {
  return element(TAG.bitString, Uint8Array.of(unused), bytes);
}

export function utf8(text: string): Buffer {
  return element(TAG.utf8, Buffer.from(text, 'utf8'));
}

/** An object identifier from its dotted form. */
export function oid(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  return element(TAG.oid, Uint8Array.from([first * 40 + second, ...rest.flatMap(base128)]));
}

/** A point in time, to the second, in the form that certificates want. */
export function time(atMs: number): Buffer {
  const date = new Date(atMs);
  // 2026-11-21T14:48:34.000Z -> 20261121144834Z
  const digits = `${date
    .toISOString()
    .replace(/\.\d+Z$/, '')
    .replace(/[-:T]/g, '')}Z`;
  const short = date.getUTCFullYear() < UTC_TIME_BEFORE_YEAR;
  return element(
    short ? TAG.utcTime : TAG.generalizedTime,
    Buffer.from(short ? digits.slice(2) : digits, 'latin1'),
  );
}

/** Context-specific tag; `constructed` when it wraps elements, as EXPLICIT tags do. */
export function tagged(number: number, content: Uint8Array, constructed: boolean): Buffer {
  return element((constructed ? 0xa0 : 0x80) | number, content);
}

function head(tag: number, length: number): Buffer {
  if (length < 0x80) return Buffer.of(tag, length);
  if (length < 0x100) return Buffer.of(tag, 0x81, length);
  return Buffer.of(tag, 0x82, length >> 8, length & 0xff);
}

function base128(value: number): number[] {
  const digits = [value & 0x7f];
  for (let rest = value >>> 7; rest > 0; rest >>>= 7) digits.unshift(0x80 | (rest & 0x7f));
  return digits;
}

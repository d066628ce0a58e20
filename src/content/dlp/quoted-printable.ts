const EQUALS = 0x3d;

/**
 * Undoes quoted-printable (RFC 2045 §6.7), as parts of mail and of forms may be coded, in bytes that speak of it: elsewhere "=" and two
 * digits are ordinary text. The result is never longer than the view; undefined when nothing changed.
 */
export function undoQuotedPrintable(view: Uint8Array): Uint8Array | undefined {
  const bytes = Buffer.from(view.buffer, view.byteOffset, view.length);
  if (!bytes.includes(EQUALS) || !/quoted-printable/i.test(bytes.toString('latin1'))) return undefined;
  const out = Buffer.allocUnsafe(bytes.length);
  let length = 0;
  for (let at = 0; at < bytes.length;) {
    const byte = bytes[at] ?? 0;
    const end = byte === EQUALS ? softBreakEnd(bytes, at + 1) : undefined;
    const coded = byte === EQUALS && end === undefined ? byteAt(bytes, at + 1) : undefined;
    if (end === undefined) out[length++] = coded ?? byte;
    at = end ?? at + (coded === undefined ? 1 : 3);
  }
  return length === bytes.length ? undefined : out.subarray(0, length);
}

/** Blanks that were added on the way, and the line break; more of them than any line has room for are none. */
const PADDING_MAX = 76;

function softBreakEnd(bytes: Buffer, from: number): number | undefined {
  let at = from;
  while ((bytes[at] === 0x20 || bytes[at] === 0x09) && at - from < PADDING_MAX) at++;
  if (bytes[at] === 0x0d) at++;
  return bytes[at] === 0x0a ? at + 1 : undefined;
}

function byteAt(bytes: Buffer, at: number): number | undefined {
  const high = digit(bytes[at]);
  const low = digit(bytes[at + 1]);
  return high === undefined || low === undefined ? undefined : high * 16 + low;
}

/** Lower case is wrong, and read by all. */
function digit(byte = 0): number | undefined {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const letter = byte | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : undefined;
}

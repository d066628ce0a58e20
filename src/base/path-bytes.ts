/**
 * File names are bytes, strings are not. A byte that is not UTF-8 becomes the lone surrogate U+DC00 + byte, as in
 * Python's PEP 383, so that a path survives JSON and comes back unchanged.
 */

const LONE_BYTE = /[\uDC80-\uDCFF]/;

/** Bytes of a path as the kernel wants them. */
export function pathToBytes(path: string): Buffer {
  if (!LONE_BYTE.test(path)) return Buffer.from(path, 'utf8');
  const parts: Buffer[] = [];
  for (const char of path) {
    const code = char.codePointAt(0) ?? 0;
    parts.push(code >= 0xdc80 && code <= 0xdcff ? Buffer.from([code & 0xff]) : Buffer.from(char, 'utf8'));
  }
  return Buffer.concat(parts);
}

/** The string form of a path's bytes; every byte string has exactly one. */
export function pathFromBytes(bytes: Uint8Array): string {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const text = buffer.toString('utf8');
  if (!text.includes('\uFFFD')) return text;
  let out = '';
  for (let i = 0; i < buffer.length;) {
    const length = utf8Length(buffer, i);
    out +=
      length === 0 ? String.fromCharCode(0xdc00 + (buffer[i] ?? 0)) : buffer.toString('utf8', i, i + length);
    i += Math.max(1, length);
  }
  return out;
}

/** Length of the well-formed UTF-8 sequence at `at`, or 0 (RFC 3629 §4). */
function utf8Length(buffer: Buffer, at: number): number {
  const lead = buffer[at] ?? 0;
  if (lead < 0x80) return 1;
  const length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc2 ? 2 : 0;
  if (length === 0 || at + length > buffer.length) return 0;
  const text = buffer.toString('utf8', at, at + length);
  return Buffer.byteLength(text) === length && !text.includes('\uFFFD') ? length : 0;
}

/** A path for a terminal: control characters, lone bytes and bidirectional controls are written as escapes. */
export function printablePath(path: string): string {
  return path.replaceAll(
    /[\u0000-\u001f\u007f-\u009f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\uDC80-\uDCFF]/g,
    (char) => {
      const code = char.charCodeAt(0);
      if (code >= 0xdc80 && code <= 0xdcff) return `\\x${(code & 0xff).toString(16).padStart(2, '0')}`;
      return code < 0x100
        ? `\\x${code.toString(16).padStart(2, '0')}`
        : `\\u${code.toString(16).padStart(4, '0')}`;
    },
  );
}

/** True when `inner` is `outer` or lies below it; both absolute and normalised. */
export function isWithin(inner: string, outer: string): boolean {
  return inner === outer || outer === '/' || inner.startsWith(`${outer}/`);
}

/** The form to hand to `node:fs`: a string where that is lossless, else bytes. */
export function fsPath(path: string): string | Buffer {
  return LONE_BYTE.test(path) ? pathToBytes(path) : path;
}

/** The part of `inner` below `outer`, without a leading slash; empty when they are the same. Preconditions: `isWithin`. */
export function relativeInside(inner: string, outer: string): string {
  return inner === outer ? '' : inner.slice(outer === '/' ? 1 : outer.length + 1);
}

import { isUtf8 } from 'node:buffer';
import { compatible } from './http-path-case.ts';

/** A path in the one form that rules, credentials and records see, or why it has none. */
export type PathResult =
  | { readonly ok: true; readonly path: string }
  | { readonly ok: false; readonly why: string };

/** What `%2f` in a path means: a refusal, or an ordinary character of its segment. */
export type EncodedSlash = 'deny' | 'allow';

/** Origins cut or refuse beyond about 8 KiB (RFC 9112 §3 recommends 8,000 octets for the whole line). */
export const PATH_BYTES_MAX = 8_192;

/** RFC 3986 §2.3: an escape of one of these is a second spelling of the same path. */
const UNRESERVED = /^[A-Za-z0-9\-._~]$/;

/** Rest of pchar, RFC 3986 §3.3, without ";" which begins a matrix parameter at some origins. */
const PLAIN = /^[!$&'()*+,=:@]$/;

const REFUSED_RAW: Readonly<Record<string, string>> = {
  '\\': 'a backslash in the path',
  ';': 'a matrix parameter (";") in the path',
  '#': 'a fragment ("#") in the target',
  '?': 'a query inside the path',
};

/**
 * The canonical spelling of a path: printable ASCII, what may stand plainly stands plainly, the rest as upper-case escapes.
 * Refused, never repaired, is whatever two readers may take for different paths: escapes of unreserved characters, of slashes,
 * backslashes, ";", control bytes and of "%" before hex digits; empty, "." and ".." segments in any spelling; invalid UTF-8.
 * The result is its own canonical form.
 */
export function canonicalPath(raw: string, encodedSlash: EncodedSlash): PathResult {
  if (!raw.startsWith('/')) return no(raw === '' ? 'an empty path' : 'a path that does not begin with "/"');
  if (raw.length > PATH_BYTES_MAX) return no(`a path over ${PATH_BYTES_MAX} bytes`);
  const out: string[] = [];
  const high: number[] = [];
  for (let at = 0; at < raw.length;) {
    const char = raw[at] ?? '';
    const read = char === '%' ? readEscape(raw, at, encodedSlash) : readPlain(char);
    if ('why' in read) return no(read.why);
    if (read.byte >= 0x80) high.push(read.byte);
    else if (!endRun(high)) return no('an escape that is not valid UTF-8');
    out.push(read.text);
    at += char === '%' ? 3 : 1;
  }
  if (!endRun(high)) return no('an escape that is not valid UTF-8');
  const path = out.join('');
  const why = badSegment(path);
  return why === undefined ? { ok: true, path } : no(why);
}

type Piece = { readonly byte: number; readonly text: string } | { readonly why: string };

function readPlain(char: string): Piece {
  const byte = char.charCodeAt(0);
  const refused = REFUSED_RAW[char];
  if (refused !== undefined) return { why: refused };
  if (byte <= 0x20 || byte >= 0x7f) return { why: 'a byte in the path that is not visible ASCII' };
  return { byte, text: char === '/' ? char : spell(byte) };
}

function readEscape(raw: string, at: number, encodedSlash: EncodedSlash): Piece {
  const hex = raw.slice(at + 1, at + 3);
  if (!/^[0-9a-fA-F]{2}$/.test(hex)) return { why: 'an invalid escape in the path' };
  const byte = Number.parseInt(hex, 16);
  const char = String.fromCharCode(byte);
  if (UNRESERVED.test(char)) return { why: `the escape %${hex} of a character that needs none` };
  if (byte < 0x20 || byte === 0x7f) return { why: 'an escaped control byte in the path' };
  if (char === '/' && encodedSlash === 'deny') return { why: 'an escaped slash in the path' };
  if (char === '\\') return { why: 'an escaped backslash in the path' };
  if (char === ';') return { why: 'an escaped ";" in the path' };
  if (char === '%' && /^(?:[0-9a-fA-F]{2}|[uU])/.test(raw.slice(at + 3, at + 5)))
    return { why: 'a double escape in the path' };
  return { byte, text: spell(byte) };
}

function spell(byte: number): string {
  const char = String.fromCharCode(byte);
  if (byte < 0x80 && (UNRESERVED.test(char) || PLAIN.test(char))) return char;
  return `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
}

/** Ends a run of bytes over 0x7f; false when they are not UTF-8 (overlong forms and surrogates are not). */
function endRun(high: number[]): boolean {
  return high.length === 0 || isUtf8(Uint8Array.from(high.splice(0)));
}

/** Segments are looked at in every reading: `%2F` as a separator, full-width letters as their plain forms, blanks dropped. */
function badSegment(path: string): string | undefined {
  const reading = path.includes('%') ? plainReading(path) : path;
  if (reading === undefined) return 'a character in the path that some readers take for a separator';
  const segments = reading.slice(1).split('/');
  for (const [i, segment] of segments.entries()) {
    if (segment === '' && i < segments.length - 1) return 'an empty segment ("//") in the path';
    if (segment.includes('.') && /^[.\s]+$/.test(segment)) return 'a "." or ".." segment in the path';
  }
  return undefined;
}

function plainReading(path: string): string | undefined {
  const read = decodeURIComponent(path);
  if (!/[^\x20-\x7e]/.test(read)) return read;
  const folded = compatible(read);
  return count(folded, /[/\\;%]/g) === count(read, /[/\\;%]/g) ? folded : undefined;
}

function count(text: string, pattern: RegExp): number {
  return text.match(pattern)?.length ?? 0;
}

/** Canonical spelling of literal text in a policy's pattern, where nothing is escaped. */
export function spellLiteral(text: string): string {
  let out = '';
  for (const byte of new TextEncoder().encode(text)) out += byte === 0x2f ? '/' : spell(byte);
  return out;
}

function no(why: string): PathResult {
  return { ok: false, why };
}

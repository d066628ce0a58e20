import { isUtf8 } from 'node:buffer';
import type { RawHeaders } from '../net/http-head.ts';
import { percentDecode } from './places.ts';

/** A placeholder and the secret that replaces it. */
export interface BodySwap {
  readonly placeholder: string;
  readonly secret: Uint8Array;
}

type Form = 'json' | 'form';

/** How a body's text is read, or undefined when no secret can be put into it: another type, or a coding over it. */
export function bodyForm(headers: RawHeaders): Form | undefined {
  const codings = valuesOf(headers, 'content-encoding').filter(
    (coding) => !/^(identity)?$/i.test(coding.trim()),
  );
  const [type = '', ...more] = valuesOf(headers, 'content-type');
  if (codings.length > 0 || more.length > 0) return undefined;
  const media = (type.split(';', 1)[0] ?? '').trim().toLowerCase();
  // Without a type the origin guesses; `swapBody` looks whether it is JSON, and leaves alone what is not.
  if (media === '') return 'json';
  if (/^application\/([a-z0-9.+-]+\+)?json$/.test(media)) return 'json';
  return media === 'application/x-www-form-urlencoded' ? 'form' : undefined;
}

/**
 * Puts secrets where a whole value of the body is exactly the placeholder: a JSON string that is no key, a form field. In the middle of
 * other text it stays, and is then refused as misplaced: a secret must not end up in a prompt.
 */
export function swapBody(body: Buffer, form: Form, swaps: readonly BodySwap[]): Buffer {
  if (form === 'form') return swapForm(body, swaps);
  if (!isJson(body)) return body;
  return swaps.reduce((bytes, swap) => swapJson(bytes, swap), body);
}

function isJson(body: Buffer): boolean {
  try {
    JSON.parse(body.toString('utf8'));
    return isUtf8(body);
  } catch {
    return false;
  }
}

/** In valid JSON a quote directly before the placeholder opens a string, unless a backslash stands before it. */
function swapJson(body: Buffer, { placeholder, secret }: BodySwap): Buffer {
  const spellings = new Set([placeholder, placeholder.replaceAll('/', '\\/')].map((text) => `"${text}"`));
  const escaped = Buffer.from(JSON.stringify(textOf(secret)));
  let bytes = body;
  for (const spelling of spellings) bytes = replaceEach(bytes, Buffer.from(spelling), escaped, isWholeValue);
  return bytes;
}

function isWholeValue(body: Buffer, start: number, end: number): boolean {
  if (body[start - 1] === 0x5c) return false;
  let after = end;
  while (/[ \t\r\n]/.test(String.fromCharCode(body[after] ?? 0))) after++;
  return body[after] !== 0x3a;
}

function replaceEach(
  body: Buffer,
  what: Buffer,
  by: Buffer,
  fits: (body: Buffer, start: number, end: number) => boolean,
): Buffer {
  const parts: Buffer[] = [];
  let from = 0;
  for (let at = body.indexOf(what); at !== -1; at = body.indexOf(what, at + what.length)) {
    if (!fits(body, at, at + what.length)) continue;
    parts.push(body.subarray(from, at), by);
    from = at + what.length;
  }
  return parts.length === 0 ? body : Buffer.concat([...parts, body.subarray(from)]);
}

function swapForm(body: Buffer, swaps: readonly BodySwap[]): Buffer {
  const text = body.toString('latin1');
  const shortest = Math.min(...swaps.map(({ placeholder }) => placeholder.length));
  const parts: string[] = [];
  let done = 0;
  for (let at = 0; at <= text.length;) {
    const found = text.indexOf('&', at);
    const end = found === -1 ? text.length : found;
    // A body of separators alone has millions of pieces: what is too short for a placeholder is not even cut out.
    const swapped = end - at > shortest ? swapPiece(text.slice(at, end), swaps) : undefined;
    if (swapped !== undefined) {
      parts.push(text.slice(done, at), swapped);
      done = end;
    }
    at = end + 1;
  }
  return parts.length === 0 ? body : Buffer.from(parts.join('') + text.slice(done), 'latin1');
}

function swapPiece(piece: string, swaps: readonly BodySwap[]): string | undefined {
  const equals = piece.indexOf('=');
  if (equals === -1) return undefined;
  const value = percentDecode(piece.slice(equals + 1).replaceAll('+', ' '));
  const swap = swaps.find(({ placeholder }) => placeholder === value);
  return swap === undefined ? undefined : piece.slice(0, equals + 1) + formEncode(swap.secret);
}

/** application/x-www-form-urlencoded (WHATWG URL §5.2), a space as %20, which every reader takes. */
function formEncode(secret: Uint8Array): string {
  const write = (byte: number): string => {
    const letter = String.fromCharCode(byte);
    return /[A-Za-z0-9*\-._]/.test(letter) ? letter : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  };
  return Array.from(secret, write).join('');
}

function textOf(secret: Uint8Array): string {
  const bytes = Buffer.from(secret);
  return isUtf8(bytes) ? bytes.toString('utf8') : bytes.toString('latin1');
}

function valuesOf(headers: RawHeaders, name: string): string[] {
  return headers.flatMap((value, i) =>
    i % 2 === 1 && headers[i - 1]?.toLowerCase() === name ? [value] : [],
  );
}

/** Caps of one head; over either it is refused with 431. */
export interface HeadCaps {
  readonly bytes: number;
  readonly lines: number;
}

/** A request head as it came; nothing is judged beyond its grammar. */
export interface Http1Request {
  readonly http: '1.0' | '1.1';
  readonly method: string;
  readonly target: string;
  /** Name, value, name, value; in order, duplicates kept. */
  readonly headers: string[];
}

export interface Http1Response {
  readonly http: '1.0' | '1.1';
  readonly status: number;
  readonly headers: string[];
}

/** `used`: bytes of the head, from the start of the input. */
export type HeadRead<T> =
  | { readonly state: 'more' }
  | { readonly state: 'bad'; readonly status: 400 | 431; readonly why: string }
  | { readonly state: 'done'; readonly head: T; readonly used: number };

type NotDone = Exclude<HeadRead<never>, { state: 'done' }>;

const CR = 13;
const LF = 10;
const SP = 32;
const HT = 9;
const COLON = 58;
/** Longest registered method is 18 letters (IANA: `UPDATEREDIRECTREF` and its like). */
const METHOD_MAX = 32;
const LINE_END = '\r\n';
const HEAD_END = '\r\n\r\n';

/** RFC 9110 §5.6.2. */
const TOKEN = tableOf((byte) => /[!#$%&'*+.^_`|~0-9A-Za-z-]/.test(String.fromCharCode(byte)));
/** RFC 9110 §5.5: visible characters, obs-text, space and tab; so no NUL, CR, LF or other control byte. */
const VALUE = tableOf((byte) => byte === HT || (byte >= SP && byte !== 127));
/** A request target is visible ASCII (RFC 9112 §3.2); which characters a path may have is judged later. */
const TARGET = tableOf((byte) => byte > SP && byte < 127);

/** Results of the scanners below that are no position. */
const MORE = -1;
const BAD = -2;
const LONG = -3;

/**
 * Reads a request head (RFC 9112 §3, §5) from the start of `bytes`. What is wrong is refused as soon as it is there, also when the
 * head is not complete; nothing is repaired: no bare LF, no folded line, no space before a colon, no empty line in front.
 */
export function readRequestHead(bytes: Buffer, caps: HeadCaps): HeadRead<Http1Request> {
  const text = textOf(bytes, caps);
  const first = scan(text, 0, TOKEN);
  if (first > METHOD_MAX) return bad('a method that is too long');
  if (first === text.length) return unfinished(text, caps);
  if (first === 0 || text.charCodeAt(first) !== SP) return bad('a request line that is malformed');
  const second = scan(text, first + 1, TARGET);
  if (second === text.length) return unfinished(text, caps);
  if (second === first + 1 || text.charCodeAt(second) !== SP) return bad('a request line that is malformed');
  const at = scanVersion(text, second + 1);
  if (at === MORE) return unfinished(text, caps);
  const end = at === BAD ? BAD : scanLineEnd(text, at);
  if (end < 0) return refusal(end, text, caps, 'a request line that is malformed');
  const headers: string[] = [];
  const used = readFields(text, end, headers, caps.lines);
  if (used < 0) return refusal(used, text, caps, 'a header line that is malformed');
  const http = text.charCodeAt(at - 1) === 48 ? '1.0' : '1.1';
  const head = {
    http,
    method: text.slice(0, first),
    target: text.slice(first + 1, second),
    headers,
  } as const;
  return { state: 'done', head, used };
}

/** Reads a response head (RFC 9112 §4). The reason phrase is dropped; the space before it may be missing with it, as many origins write it. */
export function readResponseHead(bytes: Buffer, caps: HeadCaps): HeadRead<Http1Response> {
  const text = textOf(bytes, caps);
  const at = scanVersion(text, 0);
  if (at < 0) return refusal(at, text, caps, 'a status line that is malformed');
  const status = text.length >= at + 4 ? statusAt(text, at) : MORE;
  if (status < 0) return refusal(status, text, caps, 'a status line that is malformed');
  const reason = text.charCodeAt(at + 4) === SP ? scan(text, at + 5, VALUE) : at + 4;
  const end = scanLineEnd(text, reason);
  if (end < 0) return refusal(end, text, caps, 'a status line that is malformed');
  const headers: string[] = [];
  const used = readFields(text, end, headers, caps.lines);
  if (used < 0) return refusal(used, text, caps, 'a header line that is malformed');
  const http = text.charCodeAt(at - 1) === 48 ? '1.0' : '1.1';
  return { state: 'done', head: { http, status, headers }, used };
}

/** Reads a trailer section (RFC 9112 §7.1.2), which ends with an empty line; the same grammar as header lines. */
export function readTrailers(bytes: Buffer, caps: HeadCaps): HeadRead<string[]> {
  const text = textOf(bytes, caps);
  const head: string[] = [];
  const used = readFields(text, 0, head, caps.lines);
  if (used < 0) return refusal(used, text, caps, 'a trailer that is malformed');
  return { state: 'done', head, used };
}

/** The head alone where it is complete, else all there is within the cap. Latin-1: one character a byte, whatever the byte. */
function textOf(bytes: Buffer, caps: HeadCaps): string {
  const end = bytes.indexOf(HEAD_END, 0, 'latin1');
  return bytes.toString('latin1', 0, Math.min(end < 0 ? bytes.length : end + HEAD_END.length, caps.bytes));
}

/** First position at or after `from` whose character is not in the table. */
function scan(text: string, from: number, table: Uint8Array): number {
  let at = from;
  while (at < text.length && table[text.charCodeAt(at)] === 1) at++;
  return at;
}

/** Position after `HTTP/1.0` or `HTTP/1.1`. */
function scanVersion(text: string, from: number): number {
  if (text.startsWith('HTTP/1.', from)) {
    if (text.length === from + 7) return MORE;
    const minor = text.charCodeAt(from + 7);
    return minor === 48 || minor === 49 ? from + 8 : BAD;
  }
  return text.length < from + 7 && 'HTTP/1.'.startsWith(text.slice(from)) ? MORE : BAD;
}

/** Position after CRLF. */
function scanLineEnd(text: string, at: number): number {
  if (at >= text.length) return MORE;
  if (text.charCodeAt(at) !== CR) return BAD;
  if (at + 1 >= text.length) return MORE;
  return text.charCodeAt(at + 1) === LF ? at + 2 : BAD;
}

/** ` 200`: a space and three digits from 100 up. */
function statusAt(text: string, at: number): number {
  if (text.charCodeAt(at) !== SP) return BAD;
  let status = 0;
  for (let i = at + 1; i < at + 4; i++) {
    const digit = text.charCodeAt(i) - 48;
    if (!(digit >= 0 && digit <= 9)) return BAD;
    status = status * 10 + digit;
  }
  return status < 100 ? BAD : status;
}

/** Reads field lines up to and with the empty line; the position after it. */
function readFields(text: string, from: number, out: string[], maxLines: number): number {
  let at = from;
  for (;;) {
    if (at >= text.length) return MORE;
    if (text.charCodeAt(at) === CR) return scanLineEnd(text, at);
    const colon = scan(text, at, TOKEN);
    if (colon === text.length) return MORE;
    if (colon === at || text.charCodeAt(colon) !== COLON) return BAD;
    let start = colon + 1;
    while (isSpace(text, start)) start++;
    const end = scan(text, start, VALUE);
    const next = scanLineEnd(text, end);
    if (next < 0) return next;
    if (out.length >= maxLines * 2) return LONG;
    let stop = end;
    while (stop > start && isSpace(text, stop - 1)) stop--;
    out.push(text.slice(at, colon), text.slice(start, stop));
    at = next;
  }
}

function isSpace(text: string, at: number): boolean {
  const code = text.charCodeAt(at);
  return code === SP || code === HT;
}

function refusal(code: number, text: string, caps: HeadCaps, why: string): NotDone {
  if (code === MORE) return unfinished(text, caps);
  if (code === LONG) return { state: 'bad', status: 431, why: `over ${caps.lines} header lines` };
  return bad(why);
}

function unfinished(text: string, caps: HeadCaps): NotDone {
  return text.length < caps.bytes
    ? { state: 'more' }
    : { state: 'bad', status: 431, why: `a head over ${caps.bytes} bytes` };
}

function bad(why: string): NotDone {
  return { state: 'bad', status: 400, why };
}

function tableOf(holds: (byte: number) => boolean): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, byte) => (holds(byte) ? 1 : 0));
}

/** True when the bytes hold a whole head, whether well-formed or not. */
export function hasHeadEnd(bytes: Buffer): boolean {
  return bytes.includes(HEAD_END, 0, 'latin1') || bytes.indexOf(LINE_END, 0, 'latin1') === 0;
}

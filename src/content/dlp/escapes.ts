import { TABLES } from './letters.ts';
import { Sink } from './sink.ts';

const PERCENT = 0x25;
const AMPERSAND = 0x26;
const BACKSLASH = 0x5c;
const NEWLINE = 0x0a;

/** First bytes of escapes, and of invisible characters in UTF-8. */
const TRIGGERS: readonly number[] = [PERCENT, AMPERSAND, BACKSLASH, 0xc2, 0xe2, 0xef];

/** Table of the triggers that occur at all. Looking for one byte is far quicker than looking at every byte. */
function triggersIn(view: Uint8Array): Uint8Array | undefined {
  // A buffer's own search is memchr(3); that of typed arrays reads element by element.
  const bytes = Buffer.from(view.buffer, view.byteOffset, view.length);
  const there = TRIGGERS.filter((byte) => bytes.includes(byte));
  if (there.length === 0) return undefined;
  const table = new Uint8Array(256);
  for (const byte of there) table[byte] = 1;
  return table;
}

/** One escape: how many bytes it has, and the code point it stands for (a byte when `raw`); -1 for none. */
interface Escape {
  readonly length: number;
  readonly code: number;
  readonly raw: boolean;
}

/** `"`, `'`, `/`, `\` and the backquote. */
const QUOTED: ReadonlySet<number> = new Set([0x22, 0x27, 0x2f, BACKSLASH, 0x60]);
const SIMPLE: Readonly<Record<string, number>> = { n: 10, r: 13, t: 9, b: 8, f: 12, v: 11, '0': 0 };
const ENTITIES: Readonly<Record<string, number>> = { amp: 38, lt: 60, gt: 62, quot: 34, apos: 39, nbsp: 32 };
const ENTITY_MAX = 10;

/**
 * Undoes one layer of percent-encoding, JSON and C escapes, and HTML entities, and takes invisible characters out. Answers the
 * changed places with `around` bytes before and behind each, since all else was in sight before; undefined when nothing changed.
 * The result is never longer than the view.
 */
export function undoEscapes(view: Uint8Array, around: number): Uint8Array | undefined {
  const triggers = triggersIn(view);
  if (triggers === undefined) return undefined;
  let sink: Sink | undefined;
  // Up to here everything is written or left out.
  let done = 0;
  for (let at = 0; at < view.length; at++) {
    if (triggers[view[at] ?? 0] === 0) continue;
    const found = escapeAt(view, at);
    if (found === undefined) continue;
    if (sink === undefined) {
      sink = new Sink();
      done = Math.max(0, at - around);
    }
    copyUpTo(view, { done, at, around }, sink);
    write(found, sink);
    done = at + found.length;
    at = done - 1;
  }
  sink?.take(view, done, Math.min(view.length, done + around));
  return sink?.bytes();
}

interface Gap {
  readonly done: number;
  readonly at: number;
  readonly around: number;
}

/** The bytes between two escapes; of a long stretch only its two ends. */
function copyUpTo(view: Uint8Array, { done, at, around }: Gap, sink: Sink): void {
  if (at - done <= 2 * around) {
    sink.take(view, done, at);
    return;
  }
  sink.take(view, done, done + around);
  // One byte for at least one that was left out.
  sink.push(NEWLINE);
  sink.take(view, at - around + 1, at);
}

function write(escape: Escape, sink: Sink): void {
  if (escape.code < 0) return;
  if (escape.raw || escape.code < 0x80) sink.push(escape.code & 0xff);
  else sink.append(Buffer.from(String.fromCodePoint(escape.code), 'utf8'));
}

function escapeAt(view: Uint8Array, at: number): Escape | undefined {
  const byte = view[at];
  if (byte === BACKSLASH) return backslashAt(view, at);
  if (byte === PERCENT) return percentAt(view, at);
  if (byte === AMPERSAND) return entityAt(view, at);
  const length = invisibleAt(view, at);
  return length === 0 ? undefined : { length, code: -1, raw: false };
}

function percentAt(view: Uint8Array, at: number): Escape | undefined {
  const unit = view[at + 1] === 0x75 ? hexAt(view, at + 2, 4) : undefined;
  if (unit !== undefined) return { length: 6, code: unit, raw: false };
  const byte = hexAt(view, at + 1, 2);
  return byte === undefined ? undefined : { length: 3, code: byte, raw: true };
}

function backslashAt(view: Uint8Array, at: number): Escape | undefined {
  const next = view[at + 1];
  if (next === undefined) return undefined;
  if (next === 0x75) return unicodeAt(view, at);
  if (next === 0x78) {
    const byte = hexAt(view, at + 2, 2);
    return byte === undefined ? undefined : { length: 4, code: byte, raw: true };
  }
  const letter = String.fromCharCode(next);
  const code = SIMPLE[letter];
  if (code !== undefined) return { length: 2, code, raw: false };
  return QUOTED.has(next) ? { length: 2, code: next, raw: true } : undefined;
}

/** `\uD83D\uDE00` is one character in two halves. */
function unicodeAt(view: Uint8Array, at: number): Escape | undefined {
  const unit = hexAt(view, at + 2, 4);
  if (unit === undefined) return undefined;
  if (unit < 0xd800 || unit > 0xdfff) return { length: 6, code: unit, raw: false };
  const low = view[at + 6] === BACKSLASH && view[at + 7] === 0x75 ? hexAt(view, at + 8, 4) : undefined;
  if (unit > 0xdbff || low === undefined || low < 0xdc00 || low > 0xdfff)
    return { length: 6, code: 0xfffd, raw: false };
  return { length: 12, code: 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00), raw: false };
}

function entityAt(view: Uint8Array, at: number): Escape | undefined {
  let end = at + 1;
  while (end < at + ENTITY_MAX && view[end] !== 0x3b && end < view.length) end++;
  if (view[end] !== 0x3b) return undefined;
  const name = Buffer.from(view.buffer, view.byteOffset + at + 1, end - at - 1).toString('latin1');
  const code = entityCode(name);
  if (code === undefined || code > 0x10ffff) return undefined;
  return { length: end + 1 - at, code, raw: false };
}

function entityCode(name: string): number | undefined {
  if (!name.startsWith('#')) return Object.hasOwn(ENTITIES, name) ? ENTITIES[name] : undefined;
  if (/^#[0-9]{1,7}$/.test(name)) return Number.parseInt(name.slice(1), 10);
  return /^#[xX][0-9a-fA-F]{1,6}$/.test(name) ? Number.parseInt(name.slice(2), 16) : undefined;
}

/** Bytes of an invisible character: soft hyphen, zero-width ones, marks of direction, word joiner, variation selectors, BOM. */
function invisibleAt(view: Uint8Array, at: number): number {
  const first = view[at];
  const second = view[at + 1] ?? 0;
  const third = view[at + 2] ?? 0;
  if (first === 0xc2) return second === 0xad ? 2 : 0;
  if (first === 0xe2 && second === 0x80)
    return (third >= 0x8b && third <= 0x8f) || (third >= 0xaa && third <= 0xae) ? 3 : 0;
  if (first === 0xe2 && second === 0x81) return third >= 0xa0 && third <= 0xaf ? 3 : 0;
  if (first !== 0xef) return 0;
  return (second === 0xbb && third === 0xbf) || (second === 0xb8 && third >= 0x80 && third <= 0x8f) ? 3 : 0;
}

function hexAt(view: Uint8Array, at: number, digits: number): number | undefined {
  let value = 0;
  for (let i = at; i < at + digits; i++) {
    const byte = view[i] ?? 0;
    if (TABLES.anyhex[byte] !== 1) return undefined;
    value = value * 16 + (byte <= 0x39 ? byte - 0x30 : (byte | 0x20) - 0x57);
  }
  return value;
}

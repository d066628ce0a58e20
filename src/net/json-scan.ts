import { isUtf8 } from 'node:buffer';

/** A value where it begins. Numbers are not interpreted: parsers differ on them. */
export type JsonValue =
  | { readonly kind: 'string'; readonly text: string }
  /** `text` as written: a number, `true`, `false` or `null`. */
  | { readonly kind: 'number' | 'literal'; readonly text: string }
  | { readonly kind: 'object' | 'array' };

/**
 * Looks at a document as it is read. `S` is what the visitor knows about a place; undefined: nothing below it is of interest.
 * Every value of interest is given once, a container before its members; of a string of no interest nothing is kept.
 */
export interface JsonVisitor<S> {
  value(place: S, value: JsonValue): void;
  member(place: S, name: string): S | undefined;
  element(place: S, index: number): S | undefined;
  /** False: `value` need not be called for what stands here, members below it may still be of interest. Absent: it is called for all. */
  wants?(place: S): boolean;
}

export type JsonResult = { readonly ok: true } | { readonly ok: false; readonly why: string };

/** RFC 8259 §9 lets a reader bound this; people and programs write fewer than 20. */
export const JSON_DEPTH_MAX = 64;

/** Names of one object are kept to find duplicates; ten times what real bodies have, and a bound on memory. */
export const JSON_MEMBERS_MAX = 65_536;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const COMMA = 0x2c;
const COLON = 0x3a;

/** RFC 8259 §7, the two-character escapes. */
const SHORT_ESCAPES: ReadonlyMap<number, string> = new Map(
  Object.entries({ '"': '"', '\\': '\\', '/': '/', b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' }).map(
    ([escape, char]) => [escape.charCodeAt(0), char],
  ),
);

/**
 * Reads one JSON text (RFC 8259), whole, in one pass, without building it. Refused is what parsers read differently: duplicate names in any
 * spelling, a NUL in a name, a byte order mark, invalid UTF-8, lone surrogates, trailing data, more than 64 levels.
 */
export function scanJson<S>(bytes: Uint8Array, root: S, visitor: JsonVisitor<S>): JsonResult {
  if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) return no('a byte order mark', 0);
  if (!isUtf8(bytes)) return { ok: false, why: 'JSON that is not valid UTF-8' };
  const reader = new JsonReader(bytes, visitor);
  try {
    reader.document(root);
    return { ok: true };
  } catch (error) {
    if (error instanceof JsonProblem) return no(error.message, reader.at);
    throw error;
  }
}

/** For a visitor that wants nothing but the check. */
export const NO_VISITOR: JsonVisitor<never> = {
  value: () => undefined,
  member: () => undefined,
  element: () => undefined,
};

function no(why: string, at: number): JsonResult {
  return { ok: false, why: `JSON with ${why} (byte ${at})` };
}

/** Leaves the recursion; caught in `scanJson` and nowhere else. */
class JsonProblem extends Error {}

class JsonReader<S> {
  readonly #bytes: Buffer;
  readonly #visitor: JsonVisitor<S>;
  at = 0;

  constructor(bytes: Uint8Array, visitor: JsonVisitor<S>) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#visitor = visitor;
  }

  document(root: S): void {
    this.#blank();
    this.#value(root, 0);
    this.#blank();
    if (this.at < this.#bytes.length) throw new JsonProblem('data after its end');
  }

  #value(place: S | undefined, depth: number): void {
    const byte = this.#bytes[this.at];
    if (byte === OPEN_OBJECT) return this.#object(place, depth + 1);
    if (byte === OPEN_ARRAY) return this.#array(place, depth + 1);
    const wanted = place !== undefined && this.#visitor.wants?.(place) !== false;
    if (byte === QUOTE) {
      const text = this.#string(wanted);
      if (wanted) this.#visitor.value(place, { kind: 'string', text });
      return;
    }
    const scalar = this.#scalar(wanted);
    if (wanted && scalar !== undefined) this.#visitor.value(place, scalar);
  }

  #object(place: S | undefined, depth: number): void {
    this.#enter(place, 'object', depth);
    let names: Set<string> | undefined;
    let first: string | undefined;
    if (this.#take(CLOSE_OBJECT)) return;
    do {
      this.#blank();
      if (this.#bytes[this.at] !== QUOTE) throw new JsonProblem('a name that is no string');
      const name = this.#string(true);
      // What is written in C ends a name there, and then has it twice.
      if (name.includes('\0')) throw new JsonProblem('a NUL in a name');
      // Most objects of a large document have one name, and a set costs more than the rest of it.
      if (first === undefined) first = name;
      else {
        names ??= new Set([first]);
        if (names.has(name)) throw new JsonProblem('a name that occurs twice in one object');
        if (names.add(name).size > JSON_MEMBERS_MAX)
          throw new JsonProblem(`over ${JSON_MEMBERS_MAX} names in one object`);
      }
      this.#blank();
      if (!this.#take(COLON)) throw new JsonProblem('a name without a value');
      this.#blank();
      this.#value(place === undefined ? undefined : this.#visitor.member(place, name), depth);
      this.#blank();
    } while (this.#take(COMMA));
    if (!this.#take(CLOSE_OBJECT)) throw new JsonProblem('an object that does not end');
  }

  #array(place: S | undefined, depth: number): void {
    this.#enter(place, 'array', depth);
    if (this.#take(CLOSE_ARRAY)) return;
    let index = 0;
    do {
      this.#blank();
      this.#value(place === undefined ? undefined : this.#visitor.element(place, index++), depth);
      this.#blank();
    } while (this.#take(COMMA));
    if (!this.#take(CLOSE_ARRAY)) throw new JsonProblem('an array that does not end');
  }

  #enter(place: S | undefined, kind: 'object' | 'array', depth: number): void {
    if (depth > JSON_DEPTH_MAX) throw new JsonProblem(`over ${JSON_DEPTH_MAX} levels`);
    if (place !== undefined && this.#visitor.wants?.(place) !== false) this.#visitor.value(place, { kind });
    this.at++;
    this.#blank();
  }

  /** A string from its opening quote; its text only when it is wanted. */
  #string(wanted: boolean): string {
    const begin = ++this.at;
    const parts: string[] = [];
    let run = begin;
    let bits = 0;
    for (;;) {
      const byte = this.#bytes[this.at];
      if (byte === undefined) throw new JsonProblem('a string that does not end');
      if (byte < 0x20) throw new JsonProblem('a control character in a string');
      if (byte !== QUOTE && byte !== BACKSLASH) {
        bits |= byte;
        this.at++;
        continue;
      }
      // ASCII is read twice as fast as such.
      const coding = bits < 0x80 ? 'latin1' : 'utf8';
      if (byte === QUOTE && run === begin) {
        this.at++;
        return wanted ? this.#bytes.toString(coding, run, this.at - 1) : '';
      }
      if (wanted && this.at > run) parts.push(this.#bytes.toString(coding, run, this.at));
      this.at++;
      if (byte === QUOTE) return parts.join('');
      const char = this.#escape();
      if (wanted) parts.push(char);
      run = this.at;
    }
  }

  #escape(): string {
    const byte = this.#bytes[this.at++];
    if (byte !== 0x75) {
      const char = byte === undefined ? undefined : SHORT_ESCAPES.get(byte);
      if (char === undefined) throw new JsonProblem('an unknown escape');
      return char;
    }
    const first = this.#hex4();
    if (first < 0xd800 || first > 0xdfff) return String.fromCharCode(first);
    const paired = first < 0xdc00 && this.#bytes[this.at] === BACKSLASH && this.#bytes[this.at + 1] === 0x75;
    this.at += paired ? 2 : 0;
    const second = paired ? this.#hex4() : 0;
    if (second < 0xdc00 || second > 0xdfff) throw new JsonProblem('half of a surrogate pair');
    return String.fromCharCode(first, second);
  }

  #hex4(): number {
    let unit = 0;
    for (let at = this.at; at < this.at + 4; at++) {
      const digit = hexDigit(this.#bytes[at]);
      if (digit === undefined) throw new JsonProblem('an unknown escape');
      unit = unit * 16 + digit;
    }
    this.at += 4;
    return unit;
  }

  /** A number or a literal; undefined for one that nobody asked for and that is right. */
  #scalar(wanted: boolean): JsonValue | undefined {
    const begin = this.at;
    if (!wanted && this.#digits()) return undefined;
    while (isScalarByte(this.#bytes[this.at])) this.at++;
    const text = this.#bytes.toString('latin1', begin, this.at);
    if (text === 'true' || text === 'false' || text === 'null') return { kind: 'literal', text };
    if (/^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$/.test(text)) return { kind: 'number', text };
    throw new JsonProblem(text === '' ? 'no value where one belongs' : 'something that is no value');
  }

  /** Passes a number that is digits alone; whatever else begins here is left to others. */
  #digits(): boolean {
    const begin = this.at;
    while (isDigit(this.#bytes[this.at])) this.at++;
    const length = this.at - begin;
    const whole = length > 0 && !isScalarByte(this.#bytes[this.at]);
    if (whole && (length === 1 || this.#bytes[begin] !== 0x30)) return true;
    this.at = begin;
    return false;
  }

  #take(byte: number): boolean {
    if (this.#bytes[this.at] !== byte) return false;
    this.at++;
    return true;
  }

  /** RFC 8259 §2: four bytes are blank, nothing else. */
  #blank(): void {
    for (;;) {
      const byte = this.#bytes[this.at];
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return;
      this.at++;
    }
  }
}

function hexDigit(byte: number | undefined): number | undefined {
  if (byte === undefined) return undefined;
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const letter = byte | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : undefined;
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x30 && byte <= 0x39;
}

/** Letters, digits, "+", "-", ".": what numbers and literals are made of. */
function isScalarByte(byte: number | undefined): boolean {
  return (
    byte !== undefined &&
    ((byte >= 0x30 && byte <= 0x39) ||
      (byte >= 0x61 && byte <= 0x7a) ||
      (byte >= 0x41 && byte <= 0x5a) ||
      byte === 0x2b ||
      byte === 0x2d ||
      byte === 0x2e)
  );
}

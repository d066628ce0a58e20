import { isContainer, isOpaque } from './containers.ts';
import { LETTERS, TABLES, tableOf } from './letters.ts';
import { Sink } from './sink.ts';

/** What coded runs of one view hold. */
export interface DecodedRuns {
  /** All of them, a line each; undefined when there is none. */
  readonly text: Uint8Array | undefined;
  /** Those that begin as a container. */
  readonly containers: readonly Uint8Array[];
}

/** Letters of the shortest run: 12 bytes. Known secrets are also looked for in coded form, so that shorter ones do not escape. */
const SHORTEST = 16;
const NEWLINE = 0x0a;
const RETURN = 0x0d;

const BASE64: Uint8Array = tableOf(`${LETTERS.base64}-_`);
/** Within a run these may end a label such as `sha512-`, after which the alignment begins anew. */
const JOINTS = tableOf('-_');

/** Value of a letter of base64 or base64url. */
const SEXTET = sextets();
const NIBBLE = nibbles();

function sextets(): Uint8Array {
  const values = new Uint8Array(256);
  for (let i = 0; i < 64; i++) values[LETTERS.base64.charCodeAt(i)] = i;
  values[0x2d] = 62;
  values[0x5f] = 63;
  return values;
}

function nibbles(): Uint8Array {
  const values = new Uint8Array(256);
  for (let i = 0; i < 16; i++) {
    const digit = i.toString(16);
    values[digit.charCodeAt(0)] = i;
    values[digit.toUpperCase().charCodeAt(0)] = i;
  }
  return values;
}

/** Decodes every run of base64 (also in lines) and hex of at least 16 letters. */
export function decodeRuns(view: Uint8Array): DecodedRuns {
  const runs = new Runs(view);
  for (let at = nextRun(view, 0, BASE64); at !== -1; at = nextRun(view, at, BASE64)) at = runs.take(at);
  return runs.result();
}

/** Start of the next run of a table's letters. A run covers every sixteenth byte somewhere, so that most of ordinary text is stepped over. */
function nextRun(view: Uint8Array, from: number, table: Uint8Array): number {
  let start = from;
  while (start + SHORTEST <= view.length) {
    let at = start + SHORTEST - 1;
    while (at >= start && table[view[at] ?? 0] === 1) at--;
    if (at < start) return start;
    start = at + 1;
  }
  return -1;
}

class Runs {
  readonly #view: Uint8Array;
  readonly #sink = new Sink();
  readonly #containers: Uint8Array[] = [];
  /** Letters of the run at hand, without its line ends. */
  readonly #letters = new Sink();

  constructor(view: Uint8Array) {
    this.#view = view;
  }

  result(): DecodedRuns {
    const text = this.#sink.length === 0 ? undefined : this.#sink.bytes();
    return { text, containers: this.#containers };
  }

  /** Decodes the run at `start`; answers where it ends. */
  take(start: number): number {
    const view = this.#view;
    this.#letters.length = 0;
    let at = start;
    for (;;) {
      const line = at;
      while (at < view.length && BASE64[view[at] ?? 0] === 1) at++;
      this.#letters.append(view.subarray(line, at));
      const next = at - line < SHORTEST ? at : lineStart(view, at);
      if (next === at || BASE64[view[next] ?? 0] !== 1) break;
      at = next;
    }
    this.#decode(this.#letters.bytes());
    return at;
  }

  #decode(letters: Uint8Array): void {
    if (this.#hexIn(letters)) return;
    this.#emit(letters, 0);
    const joint = letters.subarray(0, SHORTEST).findIndex((letter) => JOINTS[letter] === 1);
    if (joint !== -1 && letters.length - joint > SHORTEST) this.#emit(letters, joint + 1);
  }

  /** Decodes runs of hex within; true when that was all of it. */
  #hexIn(letters: Uint8Array): boolean {
    const { anyhex } = TABLES;
    for (let at = nextRun(letters, 0, anyhex); at !== -1; at = nextRun(letters, at, anyhex)) {
      const start = at;
      while (at < letters.length && anyhex[letters[at] ?? 0] === 1) at++;
      this.#emitHex(letters, start, at);
      if (start === 0 && at === letters.length) return true;
    }
    return false;
  }

  #emit(letters: Uint8Array, from: number): void {
    const out = this.#sink.room(letters.length);
    const start = this.#sink.length;
    const value = (i: number): number => SEXTET[letters[i] ?? 0] ?? 0;
    let to = start;
    let i = from;
    for (; i + 3 < letters.length; i += 4) {
      const four = (value(i) << 18) | (value(i + 1) << 12) | (value(i + 2) << 6) | value(i + 3);
      out[to++] = four >>> 16;
      out[to++] = four >>> 8;
      out[to++] = four;
    }
    const rest = letters.length - i;
    if (rest > 1) out[to++] = (value(i) << 2) | (value(i + 1) >>> 4);
    if (rest > 2) out[to++] = (value(i + 1) << 4) | (value(i + 2) >>> 2);
    this.#sink.length = to;
    this.#finish(start);
  }

  #emitHex(letters: Uint8Array, from: number, end: number): void {
    const out = this.#sink.room(end - from);
    const start = this.#sink.length;
    let to = start;
    for (let i = from; i + 1 < end; i += 2)
      out[to++] = ((NIBBLE[letters[i] ?? 0] ?? 0) << 4) | (NIBBLE[letters[i + 1] ?? 0] ?? 0);
    this.#sink.length = to;
    this.#finish(start);
  }

  #finish(start: number): void {
    const piece = this.#sink.bytes().subarray(start);
    if (isContainer(piece, false) || isOpaque(piece)) this.#containers.push(this.#sink.cut(start));
    else this.#sink.push(NEWLINE);
  }
}

/** Behind a line end and the indent of the next line; `at` itself when there is no line end. */
function lineStart(view: Uint8Array, at: number): number {
  let next = at;
  if (view[next] === RETURN) next++;
  if (view[next] !== NEWLINE) return at;
  next++;
  while (view[next] === 0x20 || view[next] === 0x09) next++;
  return next;
}

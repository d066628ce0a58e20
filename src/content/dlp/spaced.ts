import { TABLES } from './letters.ts';
import { Sink } from './sink.ts';

/** What may stand between letters or pairs of hex digits: one byte, the same all along. NUL makes UTF-16 of it. */
const BETWEEN = betweens();
/** Letters or pairs of the shortest run. */
const SHORTEST = 8;
/** Eight letters or pairs with what is between them cover 15 bytes and more. */
const STRIDE = 8;
const LETTER = 2;
const PAIR = 3;
const NEWLINE = 0x0a;

function betweens(): Uint8Array {
  const table = new Uint8Array(256);
  for (const letter of '\u0000 :-.,_|/;+\n\t') table[letter.charCodeAt(0)] = 1;
  return table;
}

/** `s e c r e t` and `73 65 63` without what is between; hex pairs are decoded. Undefined when there is none. */
export function closeUp(view: Uint8Array): Uint8Array | undefined {
  const sink = new Sink();
  let done = 0;
  for (let at = 0; at + 9 <= view.length; at += STRIDE) {
    if (at < done) continue;
    const found = periodAt(view, at);
    if (found === undefined) continue;
    const end = take(view, found, done, sink);
    if (end > done) done = end;
  }
  return sink.length === 0 ? undefined : sink.bytes();
}

interface Period {
  /** Offset of a separator. */
  readonly at: number;
  readonly step: typeof LETTER | typeof PAIR;
}

function periodAt(view: Uint8Array, at: number): Period | undefined {
  for (let i = at; i < at + PAIR; i++) {
    const byte = view[i] ?? 0;
    if (BETWEEN[byte] !== 1) continue;
    if (view[i + PAIR] === byte && view[i + 2 * PAIR] === byte && isPair(view, i + 1))
      return { at: i, step: PAIR };
    if (view[i + LETTER] === byte && view[i + 2 * LETTER] === byte && view[i + 1] !== byte)
      return { at: i, step: LETTER };
  }
  return undefined;
}

function isPair(view: Uint8Array, at: number): boolean {
  const { anyhex } = TABLES;
  return anyhex[view[at] ?? 0] === 1 && anyhex[view[at + 1] ?? 0] === 1;
}

/** Writes the run round a separator, if it is long enough; answers its end. */
function take(view: Uint8Array, { at, step }: Period, least: number, sink: Sink): number {
  const byte = view[at];
  const fits = (item: number): boolean =>
    item >= least &&
    item + step - 1 <= view.length &&
    (step === PAIR ? isPair(view, item) : view[item] !== byte);
  let first = at + 1;
  while (view[first - 1] === byte && fits(first - step)) first -= step;
  let end = first;
  while (fits(end)) {
    end += step;
    if (view[end - 1] !== byte) break;
  }
  if (end - first < SHORTEST * step) return 0;
  for (let item = first; item < end; item += step)
    sink.push(step === PAIR ? pairAt(view, item) : (view[item] ?? 0));
  sink.push(NEWLINE);
  return end;
}

function pairAt(view: Uint8Array, at: number): number {
  return Number.parseInt(String.fromCharCode(view[at] ?? 0, view[at + 1] ?? 0), 16);
}

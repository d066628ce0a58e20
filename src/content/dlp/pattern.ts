import { TABLES, looksRandom, runFrom, tableOf } from './letters.ts';
import type { LetterSet, Table } from './letters.ts';

export interface Span {
  readonly start: number;
  /** Behind the last byte. */
  readonly end: number;
}

/** What a pattern found. `inner` is what the bytes decode to, where the pattern had to look there. */
export interface PatternHit extends Span {
  readonly inner?: Uint8Array;
}

/** One row of the table. */
export interface DlpPattern {
  readonly id: string;
  /** What it is, for people. */
  readonly what: string;
  /** At least one of them is in every match; found by one automaton before `find` is asked. */
  readonly literals: readonly string[];
  /** Looks round a literal. Reads a bounded piece or up to the next byte that cannot belong, so that all calls are linear together. */
  readonly find: (data: Uint8Array, literal: Span) => PatternHit | undefined;
  /** Present for plain tokens: how they are put together. */
  readonly form?: TokenForm;
}

/** A fixed text, or letters of a set: at least, and at most (absent: no bound). */
export type Part = string | readonly [letters: LetterSet, least: number, most?: number];

export interface TokenForm {
  readonly starts: readonly string[];
  readonly parts: readonly Part[];
  /** No letter of this set may stand before it. */
  readonly notAfter?: LetterSet;
}

/** A pattern for tokens with a prefix of their own. */
export function token(id: string, what: string, form: TokenForm): DlpPattern {
  return { id, what, literals: form.starts, form, find: (data, literal) => findToken(data, literal, form) };
}

function findToken(data: Uint8Array, literal: Span, form: TokenForm): PatternHit | undefined {
  const { notAfter } = form;
  if (notAfter !== undefined && literal.start > 0 && TABLES[notAfter][data[literal.start - 1] ?? 0] === 1)
    return undefined;
  let at = literal.end;
  for (const part of form.parts) {
    const length = typeof part === 'string' ? fixedAt(data, at, part) : lettersAt(data, at, part);
    if (length === undefined) return undefined;
    at += length;
  }
  const end = at + restOf(data, at, form.parts.at(-1));
  return looksRandom(data, literal.end, end) ? { start: literal.start, end } : undefined;
}

/** The rest of an open end, as far as it helps to tell one token from another. */
function restOf(data: Uint8Array, at: number, part: Part | undefined): number {
  if (part === undefined || typeof part === 'string' || part[2] !== undefined) return 0;
  return runFrom(data, at, TABLES[part[0]], REST_MAX);
}

/** Bytes read behind the least length of an open end: a flood of prefixes must not cost the length of what follows each. */
const REST_MAX = 64;

function fixedAt(data: Uint8Array, at: number, text: string): number | undefined {
  for (let i = 0; i < text.length; i++) if (data[at + i] !== text.charCodeAt(i)) return undefined;
  return text.length;
}

function lettersAt(data: Uint8Array, at: number, part: Exclude<Part, string>): number | undefined {
  const [letters, least, most] = part;
  const length = runFrom(data, at, TABLES[letters], most === undefined ? least : most + 1);
  return length < least || (most !== undefined && length > most) ? undefined : length;
}

/** What may stand between a name and its value: `key = "value"`, `"key": "value"`, `key: value`, `<key>value`, also escaped. */
const BETWEEN: Table = tableOf(' \t"\'`:=>\\,(');
const BETWEEN_MAX = 16;

/** A pattern for values that are only known by the name before them. */
export function named(
  id: string,
  what: string,
  row: {
    readonly names: readonly string[];
    readonly value: readonly [letters: LetterSet, least: number, most?: number];
    readonly check?: (data: Uint8Array, start: number, end: number) => boolean;
  },
): DlpPattern {
  const find = (data: Uint8Array, literal: Span): PatternHit | undefined => {
    const start = literal.end + runFrom(data, literal.end, BETWEEN, BETWEEN_MAX);
    if (start === literal.end) return undefined;
    const length = lettersAt(data, start, row.value);
    if (length === undefined || !looksRandom(data, start, start + length)) return undefined;
    return row.check?.(data, start, start + length) === false ? undefined : { start, end: start + length };
  };
  return { id, what, literals: row.names, find };
}

/** A row of the reference: how the token begins and what follows. */
export function describeForm(form: TokenForm): string {
  const parts = form.parts.map((part) => {
    if (typeof part === 'string') return part;
    const [letters, least, most] = part;
    const count = most === undefined ? `${least}+` : most === least ? `${least}` : `${least}-${most}`;
    return `<${count} ${letters}>`;
  });
  return form.starts.map((start) => `${start}${parts.join('')}`).join(', ');
}

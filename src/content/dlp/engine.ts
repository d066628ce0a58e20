import { MultiMatch } from '../../net/multi-match.ts';
import { secretVariants } from '../../net/secret-variants.ts';
import type { DlpPattern, PatternHit } from './pattern.ts';

/** Something found in one view. */
export interface Hit {
  readonly kind: string;
  /** What the keyed hash is made of: the secret itself, whatever it was written as. */
  readonly value: Uint8Array;
  /** Where it begins in the view. */
  readonly start: number;
}

/** A value that is known and must not leave. */
export interface KnownValue {
  readonly kind: string;
  readonly bytes: Uint8Array;
}

export interface EngineOptions {
  readonly known: readonly KnownValue[];
  readonly patterns: readonly DlpPattern[];
  /** Values that look like a token and are none: placeholders. Asked again at every hit, since they change. */
  readonly exempt: () => Iterable<Uint8Array>;
}

/** Texts of this length are found in another case and turned round too; shorter ones may be words. */
const FOLD_LEAST = 16;

/** Looks at one view in one pass: known values in all spellings, and the literals of the patterns. */
export class Engine {
  readonly #matcher: MultiMatch;
  readonly #spelt: readonly { readonly known: KnownValue; readonly length: number }[];
  readonly #patterns: readonly { readonly pattern: DlpPattern; readonly length: number }[];
  readonly #exempt: () => Iterable<Uint8Array>;

  constructor(options: EngineOptions) {
    const spelt = options.known.flatMap((known) =>
      spellings(known.bytes).map((bytes) => ({ known, length: bytes.length, bytes })),
    );
    const literals = options.patterns.flatMap((pattern) =>
      pattern.literals.map((literal) => ({
        pattern,
        length: literal.length,
        bytes: Buffer.from(literal, 'latin1'),
      })),
    );
    this.#matcher = new MultiMatch([...spelt, ...literals].map((row) => row.bytes));
    this.#spelt = spelt.map(({ known, length }) => ({ known, length }));
    this.#patterns = literals.map(({ pattern, length }) => ({ pattern, length }));
    this.#exempt = options.exempt;
  }

  /** The first thing that must not leave; a known value says more than a shape, so the search goes on for one. */
  scan(view: Uint8Array): Hit | undefined {
    let hit: Hit | undefined;
    this.#matcher.step(this.#matcher.start(), view, 0, ({ pattern, end }) => {
      const isKnown = pattern < this.#spelt.length;
      if (hit !== undefined && !isKnown) return false;
      hit = this.#judge(view, pattern, end) ?? hit;
      return isKnown;
    });
    return hit;
  }

  #judge(view: Uint8Array, index: number, end: number): Hit | undefined {
    const spelt = this.#spelt[index];
    if (spelt !== undefined)
      return { kind: spelt.known.kind, value: spelt.known.bytes, start: end - spelt.length };
    const row = this.#patterns[index - this.#spelt.length];
    const found = row?.pattern.find(view, { start: end - row.length, end });
    if (row === undefined || found === undefined || this.#isExempt(view, found)) return undefined;
    return { kind: row.pattern.id, value: view.slice(found.start, found.end), start: found.start };
  }

  #isExempt(view: Uint8Array, found: PatternHit): boolean {
    for (const value of this.#exempt()) {
      if (value.length === 0) continue;
      const from = Math.max(0, found.start - value.length);
      const near = found.inner ?? view.subarray(from, found.end + value.length);
      const at = Buffer.from(near.buffer, near.byteOffset, near.length).indexOf(value);
      if (at === -1) continue;
      if (found.inner !== undefined) return true;
      if (from + at < found.end && from + at + value.length > found.start) return true;
    }
    return false;
  }
}

/** The usual spellings, and simple disguises of values that are long enough not to be words. */
function spellings(secret: Uint8Array): readonly Uint8Array[] {
  const forms = secretVariants(secret).map(({ bytes }) => bytes);
  if (secret.length < FOLD_LEAST) return forms.length === 0 && secret.length > 0 ? [secret] : forms;
  const text = Buffer.from(secret).toString('latin1');
  const more = [
    text.toLowerCase(),
    text.toUpperCase(),
    Array.from(text).toReversed().join(''),
    text.replace(/[a-z]/gi, rot13),
  ];
  const seen = new Set([text]);
  for (const form of more) {
    if (seen.has(form)) continue;
    seen.add(form);
    forms.push(Buffer.from(form, 'latin1'));
  }
  return forms;
}

function rot13(letter: string): string {
  const code = letter.charCodeAt(0);
  return String.fromCharCode(code + ((code | 0x20) < 0x6e ? 13 : -13));
}

import { foldCase } from './http-path-case.ts';

/** UAX #15: no character decomposes canonically to more than four, so four come to one at most; each takes up to two units. */
const FOLD_SHRINKS = 8;

/** Letters that folding changes at all. Few enough that what each comes to is kept. */
const FOLDS = /[\p{Changes_When_NFKC_Casefolded}\p{Changes_When_Uppercased}]/u;

/**
 * Names that others are compared with as `foldCase` has it. Documents hold a name for every dozen bytes, and putting one in its
 * compatible form costs a microsecond: here only what can come to one of these names is folded, letter by letter.
 */
export class FoldedNames {
  readonly #names: ReadonlySet<string>;
  readonly #longest: number;
  readonly #ascii: boolean;
  /** What a letter beyond ASCII comes to, where that is ASCII. */
  readonly #letters = new Map<string, string | undefined>();

  constructor(names: Iterable<string>) {
    const folded = Array.from(names, foldCase);
    this.#names = new Set(folded);
    this.#longest = folded.reduce((most, { length }) => Math.max(most, length), 0);
    this.#ascii = folded.every(isAscii);
  }

  /** The one that a name folds to; undefined when it is none of them. */
  find(name: string): string | undefined {
    if (name.length > FOLD_SHRINKS * this.#longest) return undefined;
    const folded = isAscii(name) ? name.toLowerCase() : this.#folded(name);
    return folded !== undefined && this.#names.has(folded) ? folded : undefined;
  }

  /**
   * Undefined when it cannot be one of the names. A text folds to ASCII when each of its letters does, and then letter by letter: marks
   * stay, and what they join with is never ASCII.
   */
  #folded(name: string): string | undefined {
    if (!this.#ascii) return foldCase(name);
    let folded = '';
    for (const letter of name) {
      const one = letter < '\u0080' ? letter.toLowerCase() : this.#letter(letter);
      if (one === undefined || folded.length > this.#longest) return undefined;
      folded += one;
    }
    return folded;
  }

  #letter(letter: string): string | undefined {
    if (this.#letters.has(letter)) return this.#letters.get(letter);
    if (!FOLDS.test(letter)) return undefined;
    const folded = foldCase(letter);
    const known = isAscii(folded) ? folded : undefined;
    this.#letters.set(letter, known);
    return known;
  }
}

/** Quicker than an expression for what is short. */
function isAscii(text: string): boolean {
  for (let at = 0; at < text.length; at++) if (text.charCodeAt(at) > 0x7f) return false;
  return true;
}

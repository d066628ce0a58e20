import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FoldedNames } from './folded-names.ts';
import { foldCase } from './http-path-case.ts';

const NAMES = ['tools', 'type', 'params.name', 'ffi', 'k', 'ss', 'i'];
const names = new FoldedNames(NAMES);
const foldedOf = (name: string): string | undefined =>
  NAMES.includes(foldCase(name)) ? foldCase(name) : undefined;

describe('FoldedNames', () => {
  it.each([
    ['tools', 'tools'],
    ['TOOLS', 'tools'],
    ['ｔｏｏｌｓ', 'tools'],
    ['toolſ', 'tools'],
    ['ﬃ', 'ffi'],
    ['\u212a', 'k'],
    ['ß', 'ss'],
    ['ı', 'i'],
    ['𝓽𝔂𝓹𝓮', 'type'],
    ['tool', undefined],
    ['', undefined],
    ['to\u0301ols', undefined],
    ['tools\u200d', undefined],
    ['\ufdfa'.repeat(1000), undefined],
  ])('%j is %j', (name, expected) => {
    expect(names.find(name)).toBe(expected);
    expect(foldedOf(name)).toBe(expected);
  });

  it('finds what foldCase finds, for every character by itself and in any text', () => {
    const differing: string[] = [];
    for (let code = 0x80; code <= 0x10ffff; code++) {
      if (code >= 0xd800 && code <= 0xdfff) continue;
      const letter = String.fromCodePoint(code);
      const folded = foldCase(letter);
      // One that comes to ASCII is found under what it comes to, and one that does not is never found.
      if (/^[\x00-\x7f]*$/.test(folded) && new FoldedNames([folded]).find(letter) !== folded)
        differing.push(letter);
    }
    expect(differing).toEqual([]);
    const letters = fc.constantFrom(
      ...Array.from('toolsTYPEkißıſﬃ\u212aｔ\u0301\u0307\u0345\u034fİǰẖ'),
      '𝓽',
      '\u1e9e',
      'ﬅ',
    );
    fc.assert(
      fc.property(
        fc.array(letters, { maxLength: 8 }),
        (some) => names.find(some.join('')) === foldedOf(some.join('')),
      ),
      { numRuns: 5_000 },
    );
  });

  it('knows names beyond ASCII too', () => {
    const others = new FoldedNames(['größe', 'e\u0301']);
    for (const name of ['GRÖSSE', 'grö\u00dfe', 'gro\u0308ße'])
      expect(others.find(name)).toBe(foldCase('größe'));
    expect(others.find('\u00c9')).toBe(foldCase('\u00e9'));
    expect(others.find('\u1f82'.repeat(9))).toBeUndefined();
  });
});

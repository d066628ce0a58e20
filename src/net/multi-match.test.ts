import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MultiMatch, type Match } from './multi-match.ts';

const bytes = (text: string): Uint8Array => Buffer.from(text, 'latin1');

function all(patterns: readonly Uint8Array[], chunks: readonly Uint8Array[]): string[] {
  const matcher = new MultiMatch(patterns);
  const found: Match[] = [];
  let state = matcher.start();
  let base = 0;
  for (const chunk of chunks) {
    state = matcher.step(state, chunk, base, (match) => void found.push(match));
    base += chunk.length;
  }
  return found.map(({ pattern, end }) => `${pattern}@${end}`).sort();
}

function naive(patterns: readonly Uint8Array[], data: Uint8Array): string[] {
  const found: string[] = [];
  patterns.forEach((pattern, index) => {
    for (let end = pattern.length; end <= data.length; end++)
      if (Buffer.from(pattern).equals(data.subarray(end - pattern.length, end)))
        found.push(`${index}@${end}`);
  });
  return found.sort();
}

/** Few letters, so that overlaps and failures are frequent. */
const letters = fc.integer({ min: 0, max: 3 });
const patternsOf = fc.array(fc.uint8Array({ minLength: 1, maxLength: 12, max: 2 }), { maxLength: 12 });

describe('MultiMatch', () => {
  test('overlapping, nested and equal patterns', () => {
    const patterns = ['he', 'she', 'his', 'hers', 'he'].map(bytes);
    expect(all(patterns, [bytes('ushers')])).toEqual(naive(patterns, bytes('ushers')));
  });

  test('no pattern finds nothing', () => {
    const matcher = new MultiMatch([]);
    expect(matcher.longest).toBe(0);
    expect(matcher.find(bytes('anything'))).toBeUndefined();
  });

  test('an empty pattern is refused', () => {
    expect(() => new MultiMatch([new Uint8Array()])).toThrow(RangeError);
  });

  test('all 256 bytes in use', () => {
    const every = Uint8Array.from({ length: 256 }, (_, i) => i);
    const matcher = new MultiMatch([every, Uint8Array.of(255, 0)]);
    expect(matcher.longest).toBe(256);
    expect(matcher.find(Buffer.concat([every.subarray(5), every]))).toEqual({ pattern: 1, end: 252 });
    expect(matcher.find(Buffer.concat([Uint8Array.of(7), every]))).toEqual({ pattern: 0, end: 257 });
  });

  test('stops where it is told to, and the longer of two comes first', () => {
    const matcher = new MultiMatch(['b', 'ab'].map(bytes));
    const seen: Match[] = [];
    matcher.step(matcher.start(), bytes('abab'), 100, (match) => {
      seen.push(match);
      return true;
    });
    expect(seen).toEqual([{ pattern: 1, end: 102 }]);
  });

  test('equal to a naive search', () => {
    fc.assert(
      fc.property(patternsOf, fc.array(letters, { maxLength: 200 }), (patterns, data) => {
        const text = Uint8Array.from(data);
        expect(all(patterns, [text])).toEqual(naive(patterns, text));
      }),
      { numRuns: 500 },
    );
  });

  test.each([
    ['blocks', 6],
    ['pairs', 2],
  ])('equal to a naive search in large chunks, where stretches are passed over by %s', (_by, minLength) => {
    // Patterns stand in filler whose blocks are partly theirs, at any place, also across the border of the chunks.
    const pattern = fc.string({ unit: fc.constantFrom('a', 'b', 'x'), minLength, maxLength: 14 });
    const filler = fc.string({ unit: fc.constantFrom('a', 'b', 'x', '.', '-'), maxLength: 120 });
    const world = fc.array(pattern, { minLength: 1, maxLength: 6 }).chain((patterns) =>
      fc.record({
        patterns: fc.constant(patterns.map(bytes)),
        text: fc
          .array(fc.oneof(filler, fc.constantFrom(...patterns)), { minLength: 20, maxLength: 40 })
          .map((parts) => bytes(parts.join('').padEnd(800, '.'))),
        cut: fc.integer({ min: 256, max: 540 }),
      }),
    );
    fc.assert(
      fc.property(world, ({ patterns, text, cut }) => {
        expect(all(patterns, [text.subarray(0, cut), text.subarray(cut)])).toEqual(naive(patterns, text));
      }),
      { numRuns: 300 },
    );
  });

  test('equal to a naive search over long unbranched patterns that fail late', () => {
    const block = fc.constantFrom('aaaa', 'aaab', 'ab', 'b', 'ccaaaa');
    const text = fc.array(block, { minLength: 1, maxLength: 12 }).map((parts) => bytes(parts.join('')));
    fc.assert(
      fc.property(fc.array(text, { maxLength: 6 }), fc.array(block, { maxLength: 40 }), (patterns, parts) => {
        const data = bytes(parts.join(''));
        expect(all(patterns, [data])).toEqual(naive(patterns, data));
      }),
      { numRuns: 300 },
    );
  });

  test('where the chunks are cut makes no difference', () => {
    fc.assert(
      fc.property(
        patternsOf,
        fc.array(fc.uint8Array({ max: 3, maxLength: 20 }), { maxLength: 20 }),
        (patterns, chunks) => {
          expect(all(patterns, chunks)).toEqual(all(patterns, [Buffer.concat(chunks)]));
        },
      ),
      { numRuns: 300 },
    );
  });
});

import { describe, expect, it } from 'vitest';
import { canonicalHash, canonicalJson } from './canonical-json.ts';

describe('canonicalJson', () => {
  it('sorts keys at every depth and keeps the order of lists', () => {
    expect(canonicalJson({ b: [3, 1, { z: 1, a: null }], a: 'x', skipped: undefined })).toBe(
      '{"a":"x","b":[3,1,{"a":null,"z":1}]}',
    );
  });

  it('sorts by UTF-16 code unit, as RFC 8785 §3.2.3 says', () => {
    expect(canonicalJson({ '\ufb33': 1, '\u{1f600}': 2, '\r': 3, '1': 4 })).toBe(
      '{"\\r":3,"1":4,"\u{1f600}":2,"\ufb33":1}',
    );
  });

  it('refuses what JSON cannot hold', () => {
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY, 1n, () => 1, Symbol('x')]) {
      expect(() => canonicalJson({ value })).toThrow(TypeError);
    }
  });

  it('hashes equal values equally', () => {
    expect(canonicalHash({ a: 1, b: 2 })).toBe(canonicalHash({ b: 2, a: 1 }));
    expect(canonicalHash({})).toBe('44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a');
  });
});

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { durationHint, formatDuration, formatSize, parseDuration, parseSize, sizeHint } from './units.ts';

describe('units', () => {
  it.each([
    ['256MiB', 268_435_456],
    ['1.5GiB', 1_610_612_736],
    ['0B', 0],
    ['1TiB', 1_099_511_627_776],
    [4096, 4096],
    ['unlimited', Infinity],
    ['1 GiB', undefined],
    ['256MB', undefined],
    ['-1MiB', undefined],
    ['1e3B', undefined],
    [1.5, undefined],
    [-1, undefined],
    ['999999999999999TiB', undefined],
  ])('reads the size %s', (text, bytes) => {
    expect(parseSize(text)).toBe(bytes);
  });

  it.each([
    ['10m', 600_000],
    ['1.5s', 1500],
    ['250ms', 250],
    ['24d', 2_073_600_000],
    ['unlimited', Infinity],
    ['25d', undefined],
    ['0s', undefined],
    ['600', undefined],
    ['10 m', undefined],
  ])('reads the time %s', (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  it.each([
    ['512M', '512MiB'],
    ['1 gb', '1GiB'],
    ['100', '100B'],
    ['lots', undefined],
  ])('guesses the size meant by %s', (text, hint) => {
    expect(sizeHint(text)).toBe(hint);
  });

  it.each([
    [600, '600s'],
    ['10 min', '10m'],
    ['2 hours', '2h'],
    ['5 msec', '5ms'],
  ])('guesses the time meant by %s', (text, hint) => {
    expect(durationHint(text)).toBe(hint);
  });

  it('writes what it reads', () => {
    fc.assert(
      fc.property(fc.nat({ max: 2 ** 40 }), (bytes) => {
        expect(parseSize(formatSize(bytes))).toBe(bytes);
      }),
    );
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2 ** 31 - 1 }), (ms) => {
        expect(parseDuration(formatDuration(ms))).toBe(ms);
      }),
    );
  });
});

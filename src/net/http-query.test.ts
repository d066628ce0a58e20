import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { foldName, looseQuery, queryNames, readQuery } from './http-query.ts';

const RULED = new Set(['ref', 'a:b']);

describe('readQuery', () => {
  test('decodes once', () => {
    expect(readQuery('x=%41&ref=a%20b&&y&z==', RULED)).toEqual({
      ok: true,
      parameters: [
        { name: 'x', value: 'A' },
        { name: 'ref', value: 'a b' },
        { name: 'y', value: '' },
        { name: 'z', value: '=' },
      ],
    });
    expect(readQuery('a:b=1', RULED).ok && readQuery('a%3Ab=1', RULED).ok).toBe(true);
    expect(readQuery('x=%ff+1&ref=100%25', RULED).ok).toBe(true);
  });

  test.each([
    'r%65f=x',
    'REF=x',
    'ref[]=x',
    'ref[0]=x',
    'ref%00=x',
    '%20ref=x',
    'r%2565f=x',
    'a=1;ref=x',
    'ref=a+b',
    'r+f=x',
    'ref=%zz',
    'x=%',
    'ref=%ff',
    '%ff=1',
    'ref=%0a',
    'ref=%2541',
    'x=é',
    'x y',
    Array.from({ length: 257 }, (_, i) => `p${i}=1`).join('&'),
  ])('refuses %s', (query) => {
    expect(readQuery(query, RULED).ok).toBe(false);
  });
});

test('looseQuery finds every spelling', () => {
  for (const query of [
    'url',
    'URL=1',
    'u%72l=1',
    'u%2572l=1',
    'a=1;url=2',
    'url[]=1',
    'url[a]=1',
    '+url=1',
    'url%00x=1',
  ])
    expect(looseQuery(query).some(({ names }) => names.has(foldName('url')))).toBe(true);
  expect(looseQuery('curl=1&ur=l').some(({ names }) => names.has('url'))).toBe(false);
  expect(looseQuery('x=%2541')[0]?.values).toEqual(['%2541', '%41', 'A']);
});

test('queryNames are printable and bounded', () => {
  expect(queryNames('a=secret&b%20c&a=2&%00&')).toEqual(['a', 'b c', '?']);
  expect(queryNames(Array.from({ length: 500 }, (_, i) => `n${i}`).join('&')).length).toBeLessThanOrEqual(64);
});

test('never throws; a parameter it gives back stands in the text', () => {
  const piece = fc.oneof(
    fc.constantFrom('ref', '%72', '=', '&', ';', '%', '+', '[]', '%00', '%c3%a9', 'x'),
    fc.string(),
  );
  fc.assert(
    fc.property(fc.array(piece), (pieces) => {
      const query = pieces.join('');
      looseQuery(query);
      queryNames(query);
      const read = readQuery(query, RULED);
      if (!read.ok) return;
      // Whoever parses as a browser does sees the same parameters under a ruled name.
      const ours = read.parameters.filter(({ name }) => name === 'ref').map(({ value }) => value);
      expect(new URLSearchParams(query).getAll('ref')).toEqual(ours);
    }),
    { numRuns: 500 },
  );
});

test('1 MiB of anything comes to an end', () => {
  for (const text of ['&', 'a&', '%25', 'ref=', '%2525', '[', '+'])
    readQuery(text.repeat(1_048_576 / text.length), RULED);
  looseQuery('%2525'.repeat(200_000));
});

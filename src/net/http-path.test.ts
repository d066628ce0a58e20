import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { allowsPath, parsePathGlob } from './http-path-glob.ts';
import type { PathGlob } from './http-path-glob.ts';
import { PATH_BYTES_MAX, canonicalPath } from './http-path.ts';

function glob(text: string, use: 'allow' | 'deny' = 'allow'): PathGlob {
  const result = parsePathGlob(text, use);
  if (!result.ok) throw new Error(result.why);
  return result.glob;
}

function path(raw: string, slash: 'allow' | 'deny' = 'deny'): string {
  const result = canonicalPath(raw, slash);
  return result.ok ? result.path : `refused: ${result.why}`;
}

describe('canonicalPath', () => {
  test.each([
    ['/', '/'],
    ['/a/b/', '/a/b/'],
    ['/a%20b', '/a%20b'],
    ['/%e2%82%ac', '/%E2%82%AC'],
    ['/%40scope', '/@scope'],
    ['/a[1]|{}^', '/a%5B1%5D%7C%7B%7D%5E'],
    ['/100%25', '/100%25'],
    ['/a...b/.git/..x', '/a...b/.git/..x'],
    ['/%3fx', '/%3Fx'],
  ])('%s', (raw, canonical) => {
    expect(path(raw)).toBe(canonical);
    expect(path(canonical)).toBe(canonical);
  });

  test.each([
    ['', 'an empty path'],
    ['x', 'does not begin'],
    ['/%61', 'needs none'],
    ['/%7E', 'needs none'],
    ['/a%2fb', 'escaped slash'],
    ['/a%5Cb', 'backslash'],
    ['/a\\b', 'backslash'],
    ['/a;b', 'matrix'],
    ['/a%3bb', 'escaped ";"'],
    ['/a#b', 'fragment'],
    ['/a?b', 'query'],
    ['/%', 'invalid escape'],
    ['/%2', 'invalid escape'],
    ['/%zz', 'invalid escape'],
    ['/%u0066', 'invalid escape'],
    ['/%2541', 'double escape'],
    ['/%25u0041', 'double escape'],
    ['/%00', 'control'],
    ['/%7f', 'control'],
    ['/a b', 'visible ASCII'],
    ['/é', 'visible ASCII'],
    ['/%c0%af', 'UTF-8'],
    ['/%c3', 'UTF-8'],
    ['/%ed%a0%80', 'UTF-8'],
    ['/%c3/%a9', 'UTF-8'],
    ['//', 'empty segment'],
    ['/a//', 'empty segment'],
    ['/.', 'segment'],
    ['/..', 'segment'],
    ['/a/../b', 'segment'],
    ['/..%20/b', 'segment'],
    ['/...', 'segment'],
    ['/%ef%bc%8e%ef%bc%8e/b', 'segment'],
    ['/a%ef%bc%8fb', 'separator'],
    [`/${'a'.repeat(PATH_BYTES_MAX)}`, 'over'],
  ])('refuses %s', (raw, why) => {
    expect(path(raw)).toMatch(new RegExp(`^refused: .*${why}`));
  });

  test('an escaped slash that is allowed stays, and hides nothing', () => {
    expect(path('/a/@s%2fn', 'allow')).toBe('/a/@s%2Fn');
    expect(path('/a/..%2fb', 'allow')).toContain('refused');
    expect(path('/a%2f%2fb', 'allow')).toContain('refused');
    expect(path('/a%2f/b', 'allow')).toContain('refused');
    expect(path('/a%5cb', 'allow')).toContain('refused');
  });

  test('never throws, and what it accepts is its own canonical form', () => {
    const piece = fc.oneof(
      fc.constantFrom(
        '/',
        '.',
        '..',
        '%2e',
        '%2F',
        '%5c',
        '%25',
        ';',
        'a',
        '%c3%a9',
        '%',
        '*',
        '\u0000',
        ' ',
      ),
      fc.string(),
    );
    fc.assert(
      fc.property(fc.array(piece), fc.constantFrom('allow' as const, 'deny' as const), (pieces, slash) => {
        const result = canonicalPath(`/${pieces.join('')}`, slash);
        if (!result.ok) return;
        expect(result.path).toMatch(/^\/[\x21-\x7e]*$/);
        expect(canonicalPath(result.path, slash)).toEqual(result);
        expect(decodeURIComponent(result.path).split('/')).not.toContain('..');
      }),
    );
  });
});

describe('globs', () => {
  test.each([
    ['/v1/repos/**', '/v1/repos/x', true],
    ['/v1/repos/**', '/v1/repos/x/y/', true],
    ['/v1/repos/**', '/v1/repos', true],
    ['/v1/repos/**', '/v1/repos-evil', false],
    ['/**', '/', true],
    ['/**/x', '/x', true],
    ['/**/x', '/a/b/x', true],
    ['/**/x', '/a/bx', false],
    ['/a/**/b/**/c', '/a/b/b/x/c', true],
    ['/a/**/b/**/c', '/a/c/b', false],
    ['/a/*', '/a/', false],
    ['/a/*', '/a/b', true],
    ['/a/*.json', '/a/.json', true],
    ['/a/x*y*z', '/a/xyz', true],
    ['/a/x*y*z', '/a/xz', false],
    ['/a/aa*aa', '/a/aaa', false],
    ['/a b/é/?'.slice(0, 6), '/a%20b/%C3%A9', true],
    ['/a.b', '/aXb', false],
    ['/a', '/A', false],
  ])('%s %s', (pattern, canonical, matches) => {
    expect(glob(pattern).matches(canonical)).toBe(matches);
  });

  test.each([
    ['/v1/files', '/v1/files/', true],
    ['/v1/files', '/V1/FILES', true],
    ['/v1/files/**', '/v1%2Ffiles%2Fx', true],
    ['/v1/*/x', '/v1/a%2Fb/x', true],
    ['/straße', '/STRASSE', true],
    ['/v1/files', '/v1/filesystem', false],
  ])('deny %s %s', (pattern, canonical, matches) => {
    expect(glob(pattern, 'deny').matches(canonical)).toBe(matches);
  });

  test.each([
    '',
    'a',
    '/%61',
    '/a\\b',
    '/a?b',
    '/a#b',
    '/a//b',
    '/../a',
    '/a**',
    '/**b',
    '/a\u0000',
    `/${'a'.repeat(2_048)}`,
  ])('refuses the pattern %j', (pattern) => {
    expect(parsePathGlob(pattern, 'allow').ok).toBe(false);
  });

  test('a path that is not canonical is allowed by nothing', () => {
    const all = [glob('/**')];
    expect(allowsPath(all, '/org/x')).toBe(true);
    expect(allowsPath(all, '/a%2Fb')).toBe(true);
    for (const raw of ['/org/../x', '/%6f', '/a//b', '/%zz', 'x']) expect(allowsPath(all, raw)).toBe(false);
  });

  test('a literal pattern matches its own text only; many stars end', () => {
    const stars = glob(`/${'**/a*b/'.repeat(60)}**`);
    expect(stars.matches(`/${'ab/'.repeat(2_700)}`.slice(0, PATH_BYTES_MAX))).toBe(true);
    expect(glob(`/${'*a'.repeat(500)}b`).matches(`/${'a'.repeat(PATH_BYTES_MAX - 1)}`)).toBe(false);
    fc.assert(
      fc.property(
        fc.stringMatching(/^(?:\/[a-z0-9]{1,5}){1,5}$/),
        fc.stringMatching(/^(?:\/[a-z0-9]{1,5}){1,5}$/),
        (a, b) => {
          expect(glob(a).matches(b)).toBe(a === b);
        },
      ),
    );
  });
});

import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { canonicalHost, formatAuthority, parseAuthority, parsePort } from './authority.ts';
import { canonicalName } from './name.ts';

describe('canonicalName', () => {
  test.each([
    ['API.Example.COM', 'api.example.com'],
    ['api.example.com.', 'api.example.com'],
    ['_svc.example.com', '_svc.example.com'],
    ['xn--bcher-kva.test', 'xn--bcher-kva.test'],
    ['1password.com', '1password.com'],
    ['a'.repeat(63), 'a'.repeat(63)],
  ])('%s becomes %s', (text, name) => {
    expect(canonicalName(text)).toEqual({ ok: true, name });
  });

  test.each([
    '',
    '.',
    '..',
    'a..b',
    '.a',
    'a.b..',
    'a b',
    'a\u0000.b',
    'a%00b',
    'a/b',
    'a\\b',
    'a@b',
    'a#b',
    'a?b',
    'a:1',
    '[a]',
    '*.a.b',
    'bücher.test',
    '\uff41.test',
    'a\u3002b',
    'ap\u00adi.test',
    '\u212aube.test',
    '127.1',
    '0x7f.1',
    '2130706433',
    '0',
    '1.2.3.4.5',
    'a.0x',
    'xn--a.test',
    'xn--api-.test',
    '-a.test',
    'a-.test',
    `${'a'.repeat(64)}.test`,
    `${'a.'.repeat(127)}test`,
  ])('%j is refused', (text) => {
    expect(canonicalName(text).ok).toBe(false);
  });

  test('what comes out is ASCII, within 253 bytes, and its own canonical form', () => {
    const label = fc.string({ unit: fc.constantFrom(...Array.from('abzAZ09-_.\u0000é%')), maxLength: 20 });
    fc.assert(
      fc.property(fc.array(label, { maxLength: 6 }), (labels) => {
        const result = canonicalName(labels.join('.'));
        if (!result.ok) return;
        expect(result.name).toMatch(/^[a-z0-9_.-]{1,253}$/);
        expect(canonicalName(result.name)).toEqual(result);
      }),
    );
  });
});

describe('authority', () => {
  test.each([
    ['api.test:443', 'api.test', 443],
    ['API.test.:1', 'api.test', 1],
    ['[2606:4700::1111]:443', '2606:4700::1111', 443],
    ['93.184.216.34:65535', '93.184.216.34', 65_535],
  ])('%s', (text, host, port) => {
    expect(parseAuthority(text)).toMatchObject({ ok: true, host: { host }, port });
  });

  test.each([
    'api.test',
    'api.test:',
    'api.test:0',
    'api.test:65536',
    'api.test:66002',
    'api.test:+443',
    'api.test:0443',
    'api.test:4_43',
    'api.test:443:443',
    'u:p@api.test:443',
    'http://api.test:443/',
    '[api.test]:443',
    '[::1:443',
    '::1:443',
    '[fe80::1%eth0]:443',
    '[::1]',
    ':443',
    'api.test:443 ',
    'api.test:\u0664\u0664\u0663',
  ])('%j is refused', (text) => {
    expect(parseAuthority(text).ok).toBe(false);
  });

  test('formatting and parsing agree', () => {
    expect(formatAuthority('::1', 80, 80)).toBe('[::1]');
    expect(parseAuthority(formatAuthority('2606:4700::1', 443))).toMatchObject({ ok: true, port: 443 });
    expect(parsePort('00080')).toBeUndefined();
    expect(canonicalHost('fe80::1%lo').ok).toBe(false);
  });
});

import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compareSpecificity, matchesHost, parseHostPattern } from './host-pattern.ts';
import type { HostPattern } from './host-pattern.ts';

function pattern(text: string): HostPattern {
  const result = parseHostPattern(text);
  if (!result.ok) throw new Error(`${text}: ${result.why}`);
  return result.pattern;
}

describe('parseHostPattern', () => {
  test.each([
    ['api.example.com', 'exact', 'api.example.com'],
    ['API.Example.COM.', 'exact', 'api.example.com'],
    ['localhost', 'exact', 'localhost'],
    ['host-loopback', 'exact', 'host-loopback'],
    ['_svc.example.com', 'exact', '_svc.example.com'],
    ['xn--bcher-kva.test', 'exact', 'xn--bcher-kva.test'],
    ['*.Example.com', 'wildcard', '*.example.com'],
    ['*.example.co.uk', 'wildcard', '*.example.co.uk'],
    ['192.0.2.1', 'ipv4', '192.0.2.1'],
    ['2606:4700:0:0::1111', 'ipv6', '2606:4700::1111'],
    ['*', 'wildcard', '*'],
    ['10.1.2.0/24', 'wildcard', '10.1.2.0/24'],
    ['10.1.2.3/32', 'ipv4', '10.1.2.3'],
    ['FD12:0::/32', 'wildcard', 'fd12::/32'],
  ])('%s is %s', (text, kind, host) => {
    expect(parseHostPattern(text)).toEqual({ ok: true, pattern: { kind, host } });
  });

  test.each([
    ['', 'empty', undefined],
    ['**', 'every host', 'name the hosts'],
    ['*.com', 'all of .com', 'two labels'],
    ['a*.example.com', 'whole first label', '*.example.com'],
    ['*.*.example.com', 'whole first label', undefined],
    ['example.*', 'whole first label', undefined],
    ['https://api.example.com/v1', 'URL', 'write api.example.com'],
    ['api.example.com:8443', 'port', 'ports: [8443]'],
    ['api.example.com/v1', 'path', 'write api.example.com'],
    ['user@api.example.com', 'user information', 'write api.example.com'],
    ['[2606:4700::1111]:443', 'brackets', 'write 2606:4700::1111'],
    ['[api.example.com]', 'brackets', 'write api.example.com'],
    ['bücher.test', 'outside ASCII', 'write xn--bcher-kva.test'],
    ['*.bücher.test', 'outside ASCII', 'write *.xn--bcher-kva.test'],
    [' api.example.com', 'space', 'write api.example.com'],
    ['api.example.com\u0000', 'control', undefined],
    ['.example.com', 'empty label', undefined],
    ['a..example.com', 'empty label', undefined],
    ['10.0.0.1/8', 'behind its prefix', 'write 10.0.0.0/8'],
    ['10.0.0.0/33', '0 to 32', undefined],
    ['10.0.0/8', 'not an address range', undefined],
    ['010.0.0.0/8', 'not an address range', undefined],
    ['fe80::%eth0/64', 'path', undefined],
    ['0177.0.0.1', 'number', undefined],
    ['127.1', 'number', undefined],
    ['0x7f000001', 'number', undefined],
    ['xn--a.test', 'A-label', undefined],
    ['fe80::1%eth0', 'zone id', undefined],
    ['-api.example.com', 'begins or ends', undefined],
  ])('%j is refused: %s', (text, why, hint) => {
    const result = parseHostPattern(text);
    expect(result.ok).toBe(false);
    if (result.ok) return;
    expect(result.why).toContain(why);
    if (hint !== undefined) expect(result.hint).toContain(hint);
  });

  test('parsing is idempotent and never throws', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (text) => {
        const result = parseHostPattern(text);
        if (result.ok) expect(parseHostPattern(result.pattern.host)).toEqual(result);
      }),
    );
  });
});

describe('matchesHost', () => {
  test.each([
    ['*.wild.test', 'a.wild.test', true],
    ['*', 'a.test', true],
    ['*', 'intranet', false],
    ['*', 'host-loopback', false],
    ['*', '8.8.8.8', false],
    ['*', '2606:4700::1111', false],
    ['10.1.2.0/24', '10.1.2.255', true],
    ['10.1.2.0/24', '10.1.3.0', false],
    ['10.1.2.0/23', '10.1.3.9', true],
    ['0.0.0.0/0', '8.8.8.8', true],
    ['0.0.0.0/0', '::1', false],
    ['0.0.0.0/0', 'a.test', false],
    ['fd12::/31', 'fd12:1::1', true],
    ['*.wild.test', 'a.b.wild.test', true],
    ['*.wild.test', 'wild.test', false],
    ['*.wild.test', 'evilwild.test', false],
    ['*.wild.test', '.wild.test', false],
    ['api.allowed.test', 'api.allowed.test', true],
    ['api.allowed.test', 'xapi.allowed.test', false],
    ['192.0.2.1', '192.0.2.1', true],
  ])('%s and %s: %s', (text, host, expected) => {
    expect(matchesHost(pattern(text), host)).toBe(expected);
  });
});

test('exact before longer wildcard before shorter wildcard', () => {
  const sorted = ['*.b.test', '*.a.b.test', 'x.a.b.test'].map(pattern).sort(compareSpecificity);
  expect(sorted.map((entry) => entry.host)).toEqual(['x.a.b.test', '*.a.b.test', '*.b.test']);
});

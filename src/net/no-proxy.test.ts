import { describe, expect, it } from 'vitest';
import { bypassesProxy, parseNoProxyEntry } from './no-proxy.ts';

const bypass = (list: string, host: string, port = 443): boolean =>
  bypassesProxy(
    list.split(',').flatMap((text) => parseNoProxyEntry(text) ?? []),
    host,
    port,
  );

describe('NO_PROXY', () => {
  it.each([
    ['*', 'anything.test', 443, true],
    ['corp.test', 'corp.test', 443, true],
    ['corp.test', 'git.corp.test', 443, true],
    ['corp.test', 'notcorp.test', 443, false],
    ['.corp.test', 'corp.test', 443, true],
    ['.corp.test', 'evilcorp.test', 443, false],
    ['*.corp.test', 'git.corp.test', 443, true],
    ['corp.test:8443', 'corp.test', 8443, true],
    ['corp.test:8443', 'corp.test', 443, false],
    ['CORP.test', 'corp.test', 443, true],
    ['10.0.0.0/8', '10.9.8.7', 443, true],
    ['10.0.0.0/8', '11.9.8.7', 443, false],
    ['10.1.2.3', '10.1.2.3', 80, true],
    ['10.1.2.3:80', '10.1.2.3', 81, false],
    ['172.16.0.0/12', '172.31.255.255', 1, true],
    ['172.16.0.0/12', '172.32.0.0', 1, false],
    ['0.0.0.0/0', '8.8.8.8', 53, true],
    ['0.0.0.0/0', '2001:4860::1', 53, false],
    ['2001:db8::/32', '2001:db8::1', 443, true],
    ['[2001:db8::1]:443', '2001:db8::1', 443, true],
    ['2001:db8::1', '2001:db8::1', 443, true],
    ['10.0.0.0/8', 'ten.test', 443, false],
    ['', 'corp.test', 443, false],
    ['corp.test,10.0.0.0/8', 'a.corp.test', 443, true],
  ])('%s and %s:%i', (list, host, port, expected) => {
    expect(bypass(list, host, port)).toBe(expected);
  });

  it.each(['', '10.0.0.0/33', '10.0.0/8', 'a b', 'corp.test:0', 'corp.test:99999', 'http://corp.test', '**'])(
    'refuses %j',
    (text) => {
      expect(parseNoProxyEntry(text)).toBeUndefined();
    },
  );
});

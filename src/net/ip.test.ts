import { isIPv4, isIPv6 } from 'node:net';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { judgeAddress, judgeForHost } from './ip-class.ts';
import type { IpAddress } from './ip.ts';
import { numberToQuad, parseIp, parseSocketAddress, quadToNumber } from './ip.ts';

function ip(text: string): IpAddress {
  const parsed = parseIp(text);
  if (parsed === undefined) throw new Error(`not an address: ${text}`);
  return parsed;
}

describe('parseIp', () => {
  test.each([
    ['0.0.0.0', '0.0.0.0'],
    ['255.255.255.255', '255.255.255.255'],
    ['::', '::'],
    ['::1', '::1'],
    ['2001:DB8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['1::', '1::'],
    ['::ffff:192.0.2.1', '::ffff:c000:201'],
    ['1:2:3:4:5:6:7.8.9.10', '1:2:3:4:5:6:708:90a'],
  ])('%s is %s (RFC 5952)', (text, canonical) => {
    expect(parseIp(text)?.text).toBe(canonical);
  });

  test.each([
    '',
    '1',
    '127.1',
    '127.0.0.01',
    '256.0.0.1',
    '1.2.3.4.',
    '0x7f.0.0.1',
    '1.2.3.4 ',
    ':',
    ':::',
    '1::2::3',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '1:2:3:4:5:6:7::8',
    '12345::',
    'g::',
    '::1%lo',
    '[::1]',
    '::1.2.3',
    '1.2.3.4::',
    '::1.2.3.4:5',
    '1:2:3:4:5:6:7:1.2.3.4',
  ])('%j is no address', (text) => {
    expect(parseIp(text)).toBeUndefined();
  });

  test('agrees with Node on every address Node writes, and is its own canonical form', () => {
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), (text) => {
        const parsed = parseIp(text);
        expect(parsed !== undefined).toBe(isIPv4(text) || isIPv6(text));
        if (parsed !== undefined) expect(parseIp(parsed.text)).toEqual(parsed);
      }),
    );
  });

  test('whatever it accepts, Node accepts too', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom(...Array.from('0123456789abcf:.x%')), maxLength: 24 }),
        (text) => {
          if (parseIp(text) !== undefined) expect(isIPv4(text) || isIPv6(text)).toBe(true);
        },
      ),
      { numRuns: 2_000 },
    );
  });

  test('mapped socket addresses are IPv4', () => {
    expect(parseSocketAddress('::ffff:198.18.0.5')?.text).toBe('198.18.0.5');
    expect(parseSocketAddress('::1')?.text).toBe('::1');
    expect(numberToQuad(quadToNumber([198, 18, 0, 5]))).toBe('198.18.0.5');
  });
});

describe('judgeAddress', () => {
  test.each([
    ['93.184.216.34', 'public'],
    ['172.15.255.255', 'public'],
    ['172.32.0.1', 'public'],
    ['100.63.255.255', 'public'],
    ['198.17.255.255', 'public'],
    ['223.255.255.255', 'public'],
    ['2606:4700::1', 'public'],
    ['2001:4860::1', 'public'],
    ['10.0.0.1', 'private'],
    ['172.16.0.0', 'private'],
    ['172.31.255.255', 'private'],
    ['192.168.1.1', 'private'],
    ['100.64.0.1', 'private'],
    ['100.127.255.255', 'private'],
    ['fc00::1', 'private'],
    ['fdff::1', 'private'],
    ['127.0.0.1', 'loopback'],
    ['127.255.255.255', 'loopback'],
    ['::1', 'loopback'],
    ['169.254.1.1', 'link-local'],
    ['fe80::1', 'link-local'],
    ['169.254.169.254', 'metadata'],
    ['169.254.170.2', 'metadata'],
    ['168.63.129.16', 'metadata'],
    ['100.100.100.200', 'metadata'],
    ['fd00:ec2::254', 'metadata'],
    ['fd20:ce::254', 'metadata'],
    ['0.0.0.0', 'unspecified'],
    ['0.1.2.3', 'unspecified'],
    ['::', 'unspecified'],
    ['224.0.0.1', 'multicast'],
    ['ff02::1', 'multicast'],
    ['198.18.0.1', 'synthetic'],
    ['198.19.255.255', 'synthetic'],
    ['240.0.0.1', 'reserved'],
    ['255.255.255.255', 'reserved'],
    ['192.88.99.1', 'reserved'],
    ['192.0.2.1', 'private'],
    ['::ffff:127.0.0.1', 'reserved'],
    ['::127.0.0.1', 'reserved'],
    ['::7f00:1', 'reserved'],
    ['::ffff:0:127.0.0.1', 'reserved'],
    ['64:ff9b::a9fe:a9fe', 'reserved'],
    ['64:ff9b:1::1', 'reserved'],
    ['2002:a9fe:a9fe::1', 'reserved'],
    ['2001:0:5ef5:79fb::1', 'reserved'],
    ['2001:db8::1', 'private'],
    ['3fff::1', 'reserved'],
    ['3fff:fff::1', 'reserved'],
    ['fec0::1', 'reserved'],
    ['4000::1', 'reserved'],
    ['5f00::1', 'reserved'],
    ['100::1', 'reserved'],
  ])('%s is %s', (text, kind) => {
    expect(judgeAddress(ip(text)).class).toBe(kind);
  });

  test('an address of this machine is never public or private', () => {
    const own = new Set(['203.0.114.5', '192.168.1.9']);
    expect(judgeForHost(ip('203.0.114.5'), own).class).toBe('host');
    expect(judgeForHost(ip('192.168.1.9'), own).class).toBe('host');
    expect(judgeForHost(ip('192.168.1.8'), own).class).toBe('private');
  });

  test('no IPv6 form that carries an IPv4 address is open', () => {
    fc.assert(
      fc.property(
        fc.ipV4(),
        fc.constantFrom('::ffff:', '::', '::ffff:0:', '64:ff9b::', '64:ff9b:1::'),
        (v4, prefix) => {
          expect(['public', 'private']).not.toContain(judgeAddress(ip(`${prefix}${v4}`)).class);
        },
      ),
    );
  });
});

import { describe, expect, test } from 'vitest';
import { readSocksGreeting, readSocksRequest, SOCKS_REPLY } from './socks5.ts';

const named = (name: string, port = 443): number[] => [
  5,
  1,
  0,
  3,
  name.length,
  ...Buffer.from(name, 'latin1'),
  port >> 8,
  port & 0xff,
];

describe('SOCKS5', () => {
  test('greeting', () => {
    expect(readSocksGreeting(Uint8Array.of(5, 2, 0, 2))).toEqual({
      state: 'greeting',
      used: 4,
      noAuth: true,
    });
    expect(readSocksGreeting(Uint8Array.of(5, 1, 2))).toMatchObject({ noAuth: false });
    expect(readSocksGreeting(Uint8Array.of(5, 2, 0)).state).toBe('more');
    expect(readSocksGreeting(Uint8Array.of(4, 1)).state).toBe('bad');
    expect(readSocksGreeting(Uint8Array.of(5, 0)).state).toBe('bad');
  });

  test('every cut of a request asks for more', () => {
    for (const bytes of [
      named('api.test'),
      [5, 1, 0, 1, 1, 2, 3, 4, 0, 80],
      [5, 1, 0, 4, ...Array.from({ length: 18 }, () => 1)],
    ]) {
      for (let length = 0; length < bytes.length; length++) {
        expect(readSocksRequest(Uint8Array.from(bytes.slice(0, length))).state).toBe('more');
      }
      expect(readSocksRequest(Uint8Array.from([...bytes, 9, 9]))).toMatchObject({
        state: 'request',
        used: bytes.length,
      });
    }
  });

  test('hosts come back byte for byte, addresses in canonical text', () => {
    expect(readSocksRequest(Uint8Array.from(named('evil.test\u0000.wild.test')))).toMatchObject({
      host: 'evil.test\u0000.wild.test',
    });
    expect(readSocksRequest(Uint8Array.of(5, 1, 0, 1, 127, 0, 0, 1, 0, 80))).toMatchObject({
      host: '127.0.0.1',
      port: 80,
    });
    const mapped = Buffer.from('0501000400000000000000000000ffff7f00000101bb', 'hex');
    expect(readSocksRequest(mapped)).toMatchObject({ host: '::ffff:7f00:1', port: 443 });
  });

  test.each([
    ['BIND', [5, 2, 0, 3, 1, 97, 0, 80], SOCKS_REPLY.commandUnsupported],
    ['UDP ASSOCIATE', [5, 3, 0, 3, 1, 97, 0, 80], SOCKS_REPLY.commandUnsupported],
    ['an unknown address type', [5, 1, 0, 2, 1], SOCKS_REPLY.addressUnsupported],
    ['an empty host', [5, 1, 0, 3, 0, 0, 80], SOCKS_REPLY.failure],
    ['port 0', [5, 1, 0, 1, 1, 2, 3, 4, 0, 0], SOCKS_REPLY.failure],
    ['a reserved byte', [5, 1, 1, 1, 1, 2, 3, 4, 0, 80], SOCKS_REPLY.failure],
  ])('%s is refused', (_what, bytes, reply) => {
    expect(readSocksRequest(Uint8Array.from(bytes))).toMatchObject({ state: 'bad', reply });
  });
});

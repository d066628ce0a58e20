import { connect, createServer } from 'node:net';
import { once } from 'node:events';
import { connect as tlsConnect } from 'node:tls';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { clientHello } from '../../test/gateway/hello.ts';
import { CLIENT_HELLO_MAX, readClientHello } from './client-hello.ts';

describe('readClientHello', () => {
  test('reads name, ALPN and ECH', () => {
    expect(readClientHello(clientHello({ sni: 'API.test', alpn: ['h2', 'http/1.1'] }))).toEqual({
      state: 'hello',
      hello: { serverName: 'api.test', encrypted: false, alpn: ['h2', 'http/1.1'] },
    });
    expect(readClientHello(clientHello({ sni: 'api.test', ech: true }))).toMatchObject({
      hello: { encrypted: true },
    });
    expect(readClientHello(clientHello({}))).toMatchObject({ hello: { serverName: undefined } });
  });

  test('reads what OpenSSL sends', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    const port = address === null || typeof address === 'string' ? 0 : address.port;
    const client = tlsConnect({
      socket: connect(port, '127.0.0.1'),
      servername: 'real.test',
      ALPNProtocols: ['http/1.1'],
    });
    client.on('error', () => undefined);
    const [socket] = await once(server, 'connection');
    const [bytes] = await once(socket, 'data');
    expect(readClientHello(bytes)).toMatchObject({ hello: { serverName: 'real.test', alpn: ['http/1.1'] } });
    socket.destroy();
    client.destroy();
    server.close();
  });

  test('every cut of a hello asks for more, over any number of records', () => {
    for (const records of [1, 2, 7]) {
      const whole = clientHello({ sni: 'api.test', records, padding: 300 });
      for (let length = 0; length < whole.length; length++)
        expect(readClientHello(whole.subarray(0, length)).state).toBe('more');
      expect(readClientHello(whole)).toMatchObject({ hello: { serverName: 'api.test' } });
    }
  });

  test('what follows the hello is not looked at', () => {
    const hello = clientHello({ sni: 'api.test' });
    expect(readClientHello(Buffer.concat([hello, Buffer.from([23, 3, 3, 0, 1, 9])])).state).toBe('hello');
  });

  test.each([
    ['NUL in the name', clientHello({ sniList: [Buffer.from('api.test\u0000.evil.test')] })],
    ['Latin-1 in the name', clientHello({ sniList: [Buffer.from([0x61, 0xe9])] })],
    ['a pattern', clientHello({ sni: '*.wild.test' })],
    ['an address', clientHello({ sni: '127.0.0.1' })],
    ['an empty name', clientHello({ sni: '' })],
    ['two names', clientHello({ sniList: ['a.test', 'b.test'] })],
    ['two extensions', clientHello({ sniExtensions: ['a.test', 'b.test'] })],
    ['SSLv2', Buffer.from('802e0100020015000000100100800200800300800400800500800600400700c0', 'hex')],
    ['SSH', Buffer.from('SSH-2.0-OpenSSH_9.6\r\n')],
    ['an empty record', Buffer.from([22, 3, 1, 0, 0, 1])],
    ['an over-long record', Buffer.from([22, 3, 1, 0xff, 0xff, 1])],
    ['a server hello', Buffer.from([22, 3, 3, 0, 4, 2, 0, 0, 0])],
    [
      'a second message in the record',
      Buffer.concat([Buffer.from([22, 3, 1, 0, 9, 1, 0, 0, 1, 3]), Buffer.from([1, 0, 0, 0])]),
    ],
    ['a hello of 16 MiB', Buffer.from([22, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff])],
  ])('%s is refused', (_what, bytes) => {
    expect(readClientHello(bytes).state).toBe('bad');
  });

  test('the size is bounded', () => {
    const endless = clientHello({ sni: 'api.test', padding: 65_000, records: 5 });
    expect(endless.length).toBeLessThan(CLIENT_HELLO_MAX + 1_024);
    const first = Buffer.from([22, 3, 1, 0x40, 0, 1, 0, 0xff, 0xff]);
    expect(readClientHello(Buffer.concat([first, Buffer.alloc(CLIENT_HELLO_MAX)])).state).toBe('bad');
  });

  test('a flipped byte never throws, and never makes another name', () => {
    const hello = clientHello({ sni: 'api.test' });
    fc.assert(
      fc.property(fc.nat(hello.length - 1), fc.integer({ min: 0, max: 255 }), (at, value) => {
        const copy = Buffer.from(hello);
        copy[at] = value;
        const result = readClientHello(copy);
        if (result.state === 'hello') expect(typeof (result.hello.serverName ?? '')).toBe('string');
      }),
    );
  });
});

import { afterEach, expect, test } from 'vitest';
import { clientHello } from './hello.ts';
import { HONEST, policy, rule, startBench, startOrigin, talk, until } from './kit.ts';
import type { Bench, Origin } from './kit.ts';

let bench: Bench | undefined;
let origin: Origin | undefined;

afterEach(async () => {
  await bench?.gateway.close();
  await origin?.close();
});

async function start(): Promise<{ bench: Bench; origin: Origin }> {
  origin = await startOrigin((socket, all) => {
    if (all[0] === 22) socket.write('TLS-OK');
    else if (all.includes('\r\n\r\n')) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
  });
  bench = await startBench({
    policy: policy([
      rule('api.allowed.test', 443),
      rule('plain.allowed.test', 80),
      rule('db.allowed.test', 5432),
    ]),
    origin: origin.port,
    answers: { 'api.allowed.test': [HONEST], 'plain.allowed.test': [HONEST], 'db.allowed.test': [HONEST] },
  });
  return { bench, origin };
}

test('CONNECT carries a ClientHello to the vetted address', async () => {
  const { bench: b, origin: o } = await start();
  const hello = clientHello({ sni: 'api.allowed.test' });
  const { bytes } = await talk(b.proxy, [
    'CONNECT api.allowed.test:443 HTTP/1.1\r\nHost: api.allowed.test:443\r\n\r\n',
    hello,
  ]);
  expect(bytes.toString('latin1')).toContain('HTTP/1.1 200');
  expect(bytes.toString('latin1')).toContain('TLS-OK');
  expect(o.received[0]).toEqual(hello);
  expect(b.events).toEqual([
    expect.objectContaining({
      action: 'allow',
      rule: 'allow:api.allowed.test',
      entry: 'http-proxy',
      address: HONEST,
      source: 'policy.yaml:7',
    }),
  ]);
  await until('summary', () => b.summaries.length === 1);
  expect(b.summaries[0]).toMatchObject({ host: 'api.allowed.test', upBytes: hello.length, downBytes: 6 });
});

test('an unlisted host is refused with a page that says how to allow it', async () => {
  const { bench: b } = await start();
  const { bytes } = await talk(b.proxy, ['CONNECT evil.test:443 HTTP/1.1\r\nHost: evil.test:443\r\n\r\n']);
  const text = bytes.toString('latin1');
  expect(text).toContain('HTTP/1.1 403 Forbidden');
  expect(text).toContain('X-Glovebox-Denied: default.deny');
  expect(text).toContain('--allow evil.test');
  expect(b.dialled).toEqual([]);
  expect(b.events).toEqual([
    expect.objectContaining({ action: 'deny', rule: 'default.deny', host: 'evil.test', port: 443 }),
  ]);
});

test('absolute-form goes to an http rule in origin-form', async () => {
  const { bench: b, origin: o } = await start();
  const { bytes } = await talk(
    b.proxy,
    [
      'GET http://plain.allowed.test/a?b=c HTTP/1.1\r\nHost: plain.allowed.test\r\nProxy-Connection: keep-alive\r\n\r\n',
    ],
    500,
  );
  expect(bytes.toString('latin1')).toMatch(/200 OK[\s\S]*ok$/);
  expect(o.received[0]?.toString('latin1')).toMatch(
    /^GET \/a\?b=c HTTP\/1\.1\r\nHost: plain\.allowed\.test\r\n/,
  );
  expect(o.received[0]?.toString('latin1')).not.toContain('Proxy');
});

test('a transparent connection is known by its synthetic address', async () => {
  const { bench: b, origin: o } = await start();
  Object.assign(b.destination, { address: '::ffff:198.18.0.2', port: 80 });
  const { bytes } = await talk(b.transparent, ['GET / HTTP/1.1\r\nHost: plain.allowed.test\r\n\r\n'], 500);
  expect(bytes.toString('latin1')).toContain('200 OK');
  Object.assign(b.destination, { address: '198.18.0.3', port: 5432 });
  await talk(b.transparent, ['SSLRequest']);
  expect(o.received[1]?.toString()).toBe('SSLRequest');
});

test('SOCKS with everything in one segment', async () => {
  const { bench: b, origin: o } = await start();
  const hello = clientHello({ sni: 'api.allowed.test' });
  const name = Buffer.from('api.allowed.test');
  const request = Buffer.concat([
    Buffer.from([5, 1, 0, 5, 1, 0, 3, name.length]),
    name,
    Buffer.from([1, 187]),
    hello,
  ]);
  const { bytes } = await talk(b.socks, [request]);
  expect([...bytes.subarray(0, 4)]).toEqual([5, 0, 5, 0]);
  expect(o.received[0]).toEqual(hello);
});

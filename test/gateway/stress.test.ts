import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { Socket } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { clientHello } from './hello.ts';
import { HONEST, policy, portOf, rule, startBench, startOrigin, talk, until } from './kit.ts';
import type { Bench, BenchOptions, Origin } from './kit.ts';

const closers: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function origin(onData: (socket: Socket, all: Buffer, chunk: Buffer) => void): Promise<Origin> {
  const started = await startOrigin(onData);
  closers.push(() => started.close());
  return started;
}

async function bench(port: number, more: Partial<BenchOptions> = {}): Promise<Bench> {
  const started = await startBench({
    policy: policy([rule('db.test', 5432), rule('api.test', 443), rule('plain.test', 80)]),
    origin: port,
    answers: { 'db.test': [HONEST], 'api.test': [HONEST], 'plain.test': [HONEST] },
    ...more,
  });
  closers.push(() => started.gateway.close());
  return started;
}

/** Resolves when a socket is closed, however it ended. */
async function gone(socket: Socket): Promise<void> {
  socket.resume();
  await until('closed', () => socket.closed, 5_000);
}

async function client(port: number, first?: string | Buffer): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1' });
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  if (first !== undefined) socket.write(first);
  return socket;
}

const resources = (): number =>
  process.getActiveResourcesInfo().filter((name) => /TCP|Timeout|UDP/.test(name)).length;
const connectHead = (authority: string): string =>
  `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`;

test('half-close: a client that ends its side still gets the whole answer', async () => {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    let got = 0;
    socket.on('data', (chunk) => (got += chunk.length));
    socket.on('end', () => socket.end(`${got} bytes, and ${'x'.repeat(300_000)}`));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const b = await bench(portOf(server));
  const socket = await client(b.proxy, connectHead('db.test:5432'));
  await once(socket, 'data');
  socket.end('12345');
  let answer = '';
  socket.on('data', (chunk) => (answer += chunk.toString()));
  await once(socket, 'end');
  expect(answer).toMatch(/^5 bytes, and x{300000}$/);
  await until('summary', () => b.summaries.length === 1);
  expect(b.summaries[0]).toMatchObject({ end: 'closed', upBytes: 5 });
  server.close();
});

test('a half-open peer that never answers is cut after the limit', async () => {
  const server = createServer({ allowHalfOpen: true }, (socket) =>
    socket.resume().on('error', () => undefined),
  ).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const b = await bench(portOf(server), { limits: { halfClosedMs: 100 } });
  const socket = await client(b.proxy, connectHead('db.test:5432'));
  await once(socket, 'data');
  socket.end();
  await until('cut', () => b.summaries.length === 1);
  expect(b.summaries[0]?.end).toBe('reset');
  server.close();
});

describe('slow clients', () => {
  const limits = { handshakeMs: 150, headMs: 200, idleMs: 200, stallMs: 200 };
  test.each([
    ['CONNECT head', 'proxy', 'CONNECT api.test:443 HTTP/1.1\r\n'],
    ['SOCKS greeting', 'socks', '\u0005\u0002\u0000'],
    ['ClientHello', 'transparent', '\u0016\u0003\u0001\u0001'],
    ['HTTP head', 'proxy', 'GET http://plain.test/ HTTP/1.1\r\nHost: plain.test\r\nX: '],
  ] as const)('%s that trickles is cut', async (_what, entry, start) => {
    const o = await origin(() => undefined);
    const b = await bench(o.port, { limits });
    Object.assign(b.destination, { address: '198.18.0.2', port: 443 });
    const socket = await client(b[entry], Buffer.from(start, 'latin1'));
    const trickle = setInterval(() => socket.write('a'), 40);
    await gone(socket);
    clearInterval(trickle);
    expect(o.received).toEqual([]);
  });

  test('a body that stalls is cut, and the origin gets no complete request', async () => {
    const o = await origin(() => undefined);
    const b = await bench(o.port, { limits });
    const socket = await client(
      b.proxy,
      'POST http://plain.test/ HTTP/1.1\r\nHost: plain.test\r\nContent-Length: 100\r\n\r\nhello',
    );
    await gone(socket);
    await until('upstream gone', () => o.sockets.size === 0);
    expect(o.received[0]?.toString()).toMatch(/hello$/);
  });
});

test('an upstream that dies in the middle of a body cuts the client: a part never looks whole', async () => {
  const o = await origin((socket) => {
    socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n', () =>
      socket.resetAndDestroy(),
    );
  });
  const b = await bench(o.port);
  const { bytes, closed } = await talk(
    b.proxy,
    ['GET http://plain.test/ HTTP/1.1\r\nHost: plain.test\r\n\r\n'],
    1_000,
  );
  expect(closed).toBe(true);
  expect(bytes.toString()).not.toMatch(/\r\n0\r\n\r\n$/);
});

test('a client that leaves takes its upstream along', async () => {
  const o = await origin((socket) =>
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\nstart'),
  );
  const b = await bench(o.port);
  const socket = await client(b.proxy, 'GET http://plain.test/ HTTP/1.1\r\nHost: plain.test\r\n\r\n');
  await once(socket, 'data');
  socket.destroy();
  await until('upstream closed', () => o.sockets.size === 0);
});

test('an idle pooled connection that speaks is dropped, and its words never answer a request', async () => {
  const o = await origin((socket, _all, chunk) => {
    if (chunk.includes('/first')) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst');
    if (chunk.includes('/first'))
      setTimeout(() => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil'), 50);
    if (chunk.includes('/second')) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond');
  });
  const b = await bench(o.port);
  await talk(b.proxy, ['GET http://plain.test/first HTTP/1.1\r\nHost: plain.test\r\n\r\n'], 200);
  const { bytes } = await talk(
    b.proxy,
    ['GET http://plain.test/second HTTP/1.1\r\nHost: plain.test\r\n\r\n'],
    200,
  );
  expect(bytes.toString()).toMatch(/second$/);
  expect(o.received).toHaveLength(2);
});

test('requests of one connection share a pinned upstream; every request is judged', async () => {
  const o = await origin((socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'));
  const b = await bench(o.port);
  Object.assign(b.destination, { address: '198.18.0.3', port: 80 });
  const socket = await client(b.transparent);
  let got = '';
  socket.on('data', (chunk) => (got += chunk.toString()));
  for (let i = 1; i <= 3; i++) {
    socket.write(`GET /${i} HTTP/1.1\r\nHost: plain.test\r\n\r\n`);
    await until(`answer ${i}`, () => got.match(/200 OK/g)?.length === i);
  }
  expect(o.received).toHaveLength(1);
  socket.write('GET /4 HTTP/1.1\r\nHost: evil.test\r\n\r\n');
  await until('421', () => got.includes('421'));
  expect(o.received[0]?.toString()).not.toContain('/4');
  socket.destroy();
});

test('WebSocket passes after a correct handshake and carries bytes both ways', async () => {
  const accept = 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=';
  const o = await origin((socket, all, chunk) => {
    if (all.length === chunk.length) {
      socket.write(
        `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\nfirst`,
      );
    } else socket.write(chunk);
  });
  const b = await bench(o.port);
  const socket = await client(
    b.proxy,
    'GET http://plain.test/ws HTTP/1.1\r\nHost: plain.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
      'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
  );
  let got = '';
  socket.on('data', (chunk) => (got += chunk.toString('latin1')));
  await until('101 and the first frame', () => got.includes('101') && got.endsWith('first'));
  socket.write('frame');
  await until('echo', () => got.endsWith('frame'));
  socket.destroy();
  await until('upstream closed', () => o.sockets.size === 0);
  await until('summary', () => b.summaries.length === 1);
});

test('a WebSocket answer with a wrong key opens nothing', async () => {
  const o = await origin((socket) =>
    socket.write(
      'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAA\r\n\r\n',
    ),
  );
  const b = await bench(o.port);
  const request =
    'GET http://plain.test/ws HTTP/1.1\r\nHost: plain.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
    'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n';
  const { bytes } = await talk(b.proxy, [request], 500);
  expect(bytes.toString()).toContain('502');
});

test('Expect: 100-continue waits for the decision', async () => {
  const o = await origin((socket, all) => {
    if (all.includes('hello')) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
  });
  const b = await bench(o.port);
  const head = (host: string): string =>
    `POST http://${host}/ HTTP/1.1\r\nHost: ${host}\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n`;
  const refused = await talk(b.proxy, [head('evil.test')], 300);
  expect(refused.bytes.toString()).toMatch(/^HTTP\/1\.1 403/);
  const socket = await client(b.proxy, head('plain.test'));
  let got = '';
  socket.on('data', (chunk) => (got += chunk.toString()));
  await until('100', () => got.includes('100 Continue'));
  socket.write('hello');
  await until('200', () => got.endsWith('ok'));
  socket.destroy();
});

test('a large upload that is refused still reads its refusal', async () => {
  const o = await origin(() => undefined);
  const b = await bench(o.port);
  const body = 'a'.repeat(200_000);
  const { bytes } = await talk(
    b.proxy,
    [`POST http://evil.test/ HTTP/1.1\r\nHost: evil.test\r\nContent-Length: ${body.length}\r\n\r\n${body}`],
    500,
  );
  expect(bytes.toString()).toContain('X-Glovebox-Denied: default.deny');
});

test('1,000 connections leave no socket and no timer', async () => {
  const o = await origin((socket, _all, chunk) => socket.write(chunk));
  const before = resources();
  const b = await bench(o.port, { limits: { connections: 2_000 } });
  const hello = clientHello({ sni: 'api.test' });
  for (let round = 0; round < 10; round++) {
    const sockets = await Promise.all(
      Array.from({ length: 100 }, () =>
        client(b.proxy, Buffer.concat([Buffer.from(connectHead('api.test:443')), hello])),
      ),
    );
    await until('all tunnels', () => o.received.length === (round + 1) * 100, 20_000);
    for (const [i, socket] of sockets.entries()) {
      if (i % 3 === 0) socket.end();
      else if (i % 3 === 1) socket.destroy();
      else socket.resetAndDestroy();
      socket.resume();
    }
  }
  await until('all summaries', () => b.summaries.length === 1_000, 20_000);
  expect(b.gateway.stats().connections).toBe(1_000);
  await b.gateway.close();
  await until('nothing left', () => resources() <= before && o.sockets.size === 0);
});

test('close ends listeners, tunnels, waiting dials and idle pools', async () => {
  const o = await origin((socket, all) => {
    if (all.includes('GET')) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
  });
  const before = resources();
  const b = await bench(o.port, {
    resolver: {
      resolve: (name) => (name === 'db.test' ? new Promise(() => undefined) : Promise.resolve([HONEST])),
    },
  });
  const tunnel = await client(
    b.proxy,
    Buffer.concat([Buffer.from(connectHead('api.test:443')), clientHello({ sni: 'api.test' })]),
  );
  const waiting = await client(b.proxy, connectHead('db.test:5432'));
  const half = await client(b.socks, Buffer.from([5]));
  await talk(b.proxy, ['GET http://plain.test/ HTTP/1.1\r\nHost: plain.test\r\n\r\n'], 100);
  await until('tunnel', () => o.received.length === 2);
  await b.gateway.close();
  for (const socket of [tunnel, waiting, half]) await gone(socket);
  await until('nothing left', () => resources() <= before && o.sockets.size === 0);
  await expect(client(b.proxy)).rejects.toThrow(/ECONNREFUSED/);
});

test('refusals of invented hosts are bounded in number', async () => {
  const o = await origin(() => undefined);
  const b = await bench(o.port, { limits: { refusalBurst: 20, refusalsPerSecond: 1, refusalKeys: 10 } });
  for (let i = 0; i < 100; i++) await talk(b.proxy, [connectHead(`h${i}.evil.test:443`)], 30);
  for (let i = 0; i < 5; i++) await talk(b.proxy, [connectHead('h99.evil.test:443')], 30);
  expect(b.events.length).toBeLessThan(40);
  await b.gateway.close();
  const counted = b.events.reduce((sum, event) => sum + (event.repeats ?? 1), 0);
  expect(counted).toBe(105);
  expect(b.gateway.stats().denied).toBe(105);
});

test('a sentinel port resets at once and leaves a record', async () => {
  const o = await origin(() => undefined);
  const b = await bench(o.port);
  Object.assign(b.destination, { address: '151.101.1.1', port: 22 });
  await client(b.sentinel).then(gone, () => undefined);
  await until('record', () => b.events.length === 1);
  expect(b.events).toEqual([
    expect.objectContaining({ entry: 'sentinel', action: 'deny', host: '151.101.1.1', port: 22 }),
  ]);
});

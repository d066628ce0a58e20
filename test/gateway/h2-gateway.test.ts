import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { ServerHttp2Stream } from 'node:http2';
import { createServer as createHttpsServer } from 'node:https';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { HOST, newAuthority, readReply, startH2Origin } from './h2-kit.ts';
import type { H2Origin } from './h2-kit.ts';
import { ask, h2Through, startWhole, tunnelTls } from './h2-gateway-kit.ts';
import type { WholeGateway } from './h2-gateway-kit.ts';
import { portOf, sleep, until } from './kit.ts';
import { readRule } from './tls-kit.ts';

const sandbox = newAuthority();
const world = newAuthority();
const BIG = 24 * 1024 * 1024;
const bytes = randomBytes(BIG);
const digest = (data: Buffer): string => createHash('sha256').update(data).digest('hex');

let origin: H2Origin;
let whole: WholeGateway | undefined;
const uploads: string[] = [];

function serve(stream: ServerHttp2Stream, path: string): void {
  if (path === '/big') {
    stream.respond({ ':status': 200, 'content-type': 'application/octet-stream' });
    stream.end(bytes);
  } else if (path === '/upload') receive(stream);
  else if (path === '/die') {
    stream.respond({ ':status': 200 });
    stream.write('half');
    setTimeout(() => stream.session?.destroy(), 50);
  } else if (path === '/half') {
    stream.respond({ ':status': 200 });
    stream.write('half');
    setTimeout(() => stream.destroy(new Error('no more')), 50);
  } else if (path === '/slow') {
    stream.respond({ ':status': 200 });
    stream.write('begin');
  } else if (path === '/hints') {
    stream.additionalHeaders({ ':status': 103, link: '</x>; rel=preload' });
    stream.respond({ ':status': 200, 'set-cookie': ['a=1', 'b=2'], 'alt-svc': 'h3=":443"' });
    stream.end('hinted');
  } else if (path !== '/never') {
    stream.respond({ ':status': 200 });
    stream.end(`hello ${path}`);
  }
}

function receive(stream: ServerHttp2Stream): void {
  const hash = createHash('sha256');
  stream.on('data', (chunk: Buffer) => hash.update(chunk));
  stream.on('end', () => {
    uploads.push(hash.digest('hex'));
    if (stream.destroyed || stream.aborted) return;
    stream.respond({ ':status': 201 });
    stream.end('taken');
  });
}

beforeAll(async () => {
  origin = await startH2Origin(world, (stream, headers) =>
    serve(stream, headers[':path']?.split('?')[0] ?? ''),
  );
});
afterEach(async () => {
  await whole?.bench.gateway.close();
  whole = undefined;
});
afterAll(() => origin.close());

const start = async (): Promise<WholeGateway> =>
  (whole = await startWhole({ sandbox, world }, [readRule(HOST), readRule('two.test')], origin.port));

describe('HTTP/2 through a whole gateway', () => {
  test('a request, its record, and what does not pass', async () => {
    const { bench, requests } = await start();
    const session = await h2Through(bench, sandbox, HOST);
    const reply = await ask(session, { ':path': '/hints?a=1', cookie: 'x=1; y=2', 'x-keep': ['1', '2'] });
    expect(reply.headers[':status']).toBe(200);
    expect(reply.headers['set-cookie']).toEqual(['a=1', 'b=2']);
    expect(reply.headers['alt-svc']).toBeUndefined();
    expect(String(reply.body)).toBe('hinted');
    const seen = origin.streams.at(-1)?.headers;
    expect(seen).toMatchObject({
      ':authority': HOST,
      ':path': '/hints?a=1',
      cookie: 'x=1; y=2',
      'x-keep': '1, 2',
    });
    await until('a record', () => requests.length === 1);
    expect(requests[0]).toMatchObject({
      action: 'allow',
      http: '2',
      status: 200,
      downBytes: 6,
      path: '/hints',
    });
    session.destroy();
  });

  test('two origins, each on its own connection', async () => {
    const { bench } = await start();
    const one = await h2Through(bench, sandbox, HOST);
    const two = await h2Through(bench, sandbox, 'two.test');
    const replies = await Promise.all([
      ask(one, { ':path': '/a' }),
      ask(two, { ':path': '/b', ':authority': 'two.test' }),
    ]);
    expect(replies.map((each) => String(each.body))).toEqual(['hello /a', 'hello /b']);
    const [a, b] = origin.streams.slice(-2);
    expect(a?.session).not.toBe(b?.session);
    const crossed = await ask(one, { ':path': '/a', ':authority': 'two.test' });
    expect(crossed.headers[':status']).toBe(421);
    one.destroy();
    two.destroy();
  });

  test('24 MiB down and up, whole', async () => {
    const { bench } = await start();
    const session = await h2Through(bench, sandbox, HOST);
    const down = await ask(session, { ':path': '/big' });
    expect(digest(down.body)).toBe(digest(bytes));
    const up = await ask(session, { ':method': 'POST', ':path': '/upload' }, bytes);
    expect(up.headers[':status']).toBe(201);
    const counted = await ask(
      session,
      { ':method': 'PUT', ':path': '/upload', 'content-length': BIG },
      bytes,
    );
    expect(counted.headers[':status']).toBe(201);
    expect(uploads.slice(-2)).toEqual([digest(bytes), digest(bytes)]);
    session.destroy();
  });

  test('a reader that stops stops the origin, within bounds', async () => {
    const { bench } = await start();
    const session = await h2Through(bench, sandbox, HOST);
    const stream = session.request({ ':path': '/big' });
    stream.on('error', () => undefined);
    await once(stream, 'response');
    await sleep(600);
    // What the gateway took from the origin: never more than the windows on the way.
    const sent = BIG - (origin.streams.at(-1)?.stream.writableLength ?? 0);
    const session0 = [...origin.sessions].at(-1);
    const taken = session0?.socket.bytesWritten ?? BIG;
    expect(sent).toBeLessThan(BIG);
    expect(taken).toBeLessThan(2 * 1024 * 1024);
    const other = await ask(session, { ':path': '/x' });
    expect(String(other.body)).toBe('hello /x');
    const rest: Buffer[] = [];
    stream.on('data', (chunk: Buffer) => rest.push(chunk));
    await once(stream, 'close');
    expect(digest(Buffer.concat(rest))).toBe(digest(bytes));
    session.destroy();
  });

  test('an origin that does not read stops the sender', async () => {
    const { bench } = await start();
    const session = await h2Through(bench, sandbox, HOST);
    const stream = session.request({ ':method': 'POST', ':path': '/never' });
    stream.on('error', () => undefined);
    stream.end(bytes);
    await sleep(500);
    expect(session.socket?.bytesWritten).toBeLessThan(1024 * 1024);
    stream.close(8);
    session.destroy();
  });

  test.each(['/die', '/half'])('an answer that breaks off (%s) is a reset', async (path) => {
    const { bench } = await start();
    const session = await h2Through(bench, sandbox, HOST);
    const reply = await ask(session, { ':path': path });
    expect(String(reply.body)).toBe('half');
    expect(reply.ended).toBe(false);
    expect(reply.code).toBe(2);
    session.destroy();
  });

  test('a client that cancels cancels at the origin', async () => {
    const { bench, requests } = await start();
    const session = await h2Through(bench, sandbox, HOST);
    const stream = session.request({ ':path': '/slow' });
    stream.on('error', () => undefined);
    await once(stream, 'response');
    const far = origin.streams.at(-1)?.stream;
    stream.close(8);
    await until('the cancel', () => far?.closed === true);
    expect(far?.rstCode).toBe(8);
    await until('a record', () => requests.length === 1);
    const upload = session.request({ ':method': 'POST', ':path': '/upload' });
    upload.on('error', () => undefined);
    upload.write('part');
    await until('the upload', () => origin.streams.at(-1)?.headers[':path'] === '/upload');
    await sleep(50);
    const count = uploads.length;
    // Not `close`: Node would end the body before the reset.
    upload.destroy(new Error('left'));
    const cut = origin.streams.at(-1)?.stream;
    await until('the cut', () => cut?.closed === true);
    // A source that broke is a reset for the origin, never an end.
    expect(cut?.rstCode).not.toBe(0);
    expect(uploads.length === count || cut?.aborted === true).toBe(true);
    session.destroy();
  });

  test('1,000 requests one after another leave nothing behind', async () => {
    const { bench } = await start();
    const session = await h2Through(bench, sandbox, HOST);
    const before = origin.sessions.size;
    for (let i = 0; i < 200; i++) await ask(session, { ':path': '/x' });
    globalThis.gc?.();
    const heap = process.memoryUsage().heapUsed;
    for (let i = 0; i < 1_000; i++) await ask(session, { ':path': '/x' });
    globalThis.gc?.();
    origin.streams.splice(0);
    expect(origin.sessions.size - before).toBeLessThanOrEqual(1);
    expect(process.memoryUsage().heapUsed - heap).toBeLessThan(40 * 1024 * 1024);
    expect(bench.events.filter((event) => event.action === 'deny')).toEqual([]);
    session.destroy();
  });

  test('h2 to an HTTP/1.1 origin, with bodies both ways', async () => {
    const context = world.contextFor(HOST);
    const server = createHttpsServer(
      { SNICallback: (_name, done) => done(null, context) },
      (request, response) => {
        const chunks: Buffer[] = [];
        request.on('data', (chunk: Buffer) => chunks.push(chunk));
        request.on('end', () =>
          response.end(`${request.httpVersion} ${request.method} ${Buffer.concat(chunks).length}`),
        );
      },
    );
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    whole = await startWhole({ sandbox, world }, [readRule(HOST)], portOf(server));
    const session = await h2Through(whole.bench, sandbox, HOST);
    expect(String((await ask(session, { ':path': '/' })).body)).toBe('1.1 GET 0');
    expect(
      String((await ask(session, { ':method': 'POST', ':path': '/' }, bytes.subarray(0, 300_000))).body),
    ).toBe('1.1 POST 300000');
    const grpc = await ask(
      session,
      { ':method': 'POST', ':path': '/s/m', 'content-type': 'application/grpc', te: 'trailers' },
      '',
    );
    expect(grpc.headers).toMatchObject({ ':status': 200, 'grpc-status': '14' });
    session.destroy();
    await whole.bench.gateway.close();
    server.closeAllConnections();
    server.close();
  });

  test('HTTP/1.1 to an h2 origin', async () => {
    const { bench } = await start();
    const socket = await tunnelTls(bench, sandbox, HOST, ['http/1.1']);
    const text: string[] = [];
    socket.on('data', (chunk: Buffer) => text.push(String(chunk)));
    socket.write(`GET /one HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`);
    await until('the first answer', () => text.join('').includes('hello /one'));
    socket.write(`POST /upload HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: 5\r\n\r\nhello`);
    await until('the second', () => text.join('').includes('taken'));
    expect(text.join('')).toMatch(/^HTTP\/1\.1 200 OK[\s\S]*HTTP\/1\.1 201 Created/);
    socket.destroy();
  });

  test('a client that is gone leaves no stream at the origin', async () => {
    const { bench } = await start();
    const session = await h2Through(bench, sandbox, HOST);
    const streams = [1, 2, 3].map(() => session.request({ ':path': '/slow' }));
    for (const stream of streams) stream.on('error', () => undefined);
    await Promise.all(streams.map((stream) => once(stream, 'response')));
    const far = origin.streams.slice(-3);
    session.destroy();
    await until('the streams are gone', () => far.every(({ stream }) => stream.closed));
  });

  test('a rule without http2 offers HTTP/1.1 only', async () => {
    whole = await startWhole({ sandbox, world }, [readRule(HOST, { http2: false })], origin.port);
    const socket = await tunnelTls(whole.bench, sandbox, HOST, ['h2', 'http/1.1']);
    expect(socket.alpnProtocol).toBe('http/1.1');
    socket.destroy();
  });

  test('parallel requests share one connection and do not wait for each other', async () => {
    const { bench } = await start();
    const session = await h2Through(bench, sandbox, HOST);
    await ask(session, { ':path': '/warm' });
    const before = origin.sessions.size;
    const held = session.request({ ':path': '/slow' });
    held.on('error', () => undefined);
    const replies = await Promise.all(
      Array.from({ length: 100 }, (_, i) => readReply(session.request({ ':path': `/${i}` }))),
    );
    expect(replies.map((each) => String(each.body))).toEqual(
      Array.from({ length: 100 }, (_, i) => `hello /${i}`),
    );
    expect(origin.sessions.size).toBe(before);
    session.destroy();
  });
});

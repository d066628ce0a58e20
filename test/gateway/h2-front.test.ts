import { once } from 'node:events';
import { connect as connectH2 } from 'node:http2';
import { connect as connectTls } from 'node:tls';
import { afterEach, describe, expect, test } from 'vitest';
import type { ClientExchange } from '../../src/gateway/http/contract.ts';
import type { RunExchange } from '../../src/gateway/http/h2-connection.ts';
import { problemOf } from '../../src/gateway/problem.ts';
import { dialTls, h2Client, HOST, newAuthority, readReply, startFront } from './h2-kit.ts';
import type { FrontBench, FrontBenchOptions } from './h2-kit.ts';
import { sleep, until } from './kit.ts';
import { FLAG, frame, FRAME, headerBlock, RawH2 } from './h2-wire.ts';
import type { Field, RawAnswer } from './h2-wire.ts';

const authority = newAuthority();
const open: { close(): Promise<void> }[] = [];
const wires: RawH2[] = [];
afterEach(async () => {
  for (const wire of wires.splice(0)) wire.destroy();
  for (const each of open.splice(0)) await each.close();
});

/** Reads the whole request, then says ok. */
const polite: RunExchange = (_core, _scope, exchange) => {
  const say = (): void => {
    const sink = exchange.respond({ status: 200, headers: ['x-ok', '1'] }, true);
    sink.write(Buffer.from('ok'));
    sink.end();
  };
  if (exchange.source === undefined) return say();
  exchange.source.pipe({ write: () => true, onDrain: () => undefined, end: say, abort: () => undefined });
};

async function front(run: RunExchange = polite, more: Partial<FrontBenchOptions> = {}): Promise<FrontBench> {
  const bench = await startFront({ authority, run, ...more });
  open.push(bench);
  return bench;
}

async function wireTo(bench: FrontBench, polite_ = true): Promise<RawH2> {
  const wire = new RawH2(await dialTls(authority, bench.port), { polite: polite_ });
  wires.push(wire);
  wire.start();
  return wire;
}

function head(more: Readonly<Record<string, string>> = {}, extra: readonly Field[] = []): Field[] {
  const pseudo = { ':method': 'GET', ':scheme': 'https', ':authority': HOST, ':path': '/a?b=c', ...more };
  return [...Object.entries(pseudo), ...extra];
}

async function tell(
  fields: readonly Field[],
  body?: string,
): Promise<{ answer: RawAnswer; bench: FrontBench }> {
  const bench = await front();
  const wire = await wireTo(bench);
  const stream = wire.request({ headers: fields, ...(body === undefined ? {} : { body }) });
  const answer = await wire.settled(stream);
  await sleep(5);
  wire.destroy();
  await until('the end of it', () => bench.sockets.size === 0);
  return { answer, bench };
}

describe('heads', () => {
  test.each([
    ['the authority in another case and with its port', head({ ':authority': 'API.allowed.TEST:443' })],
    ['a Host that says the same', head({}, [['host', `${HOST}:443`]])],
    ['te: trailers', head({}, [['te', 'trailers']])],
    ['OPTIONS *', head({ ':method': 'OPTIONS', ':path': '*' })],
    ['Latin-1 in a value', head({}, [['x-a', 'caf\u00e9']])],
    ['a header named __proto__', head({}, [['__proto__', 'x']])],
  ])('%s passes', async (_what, fields) => {
    const { answer, bench } = await tell(fields);
    expect(answer).toMatchObject({ status: 200, ended: true });
    expect(bench.events).toEqual([]);
  });

  test.each([
    ['another port', head({ ':authority': `${HOST}:8443` }), 421],
    ['an address', head({ ':authority': '127.0.0.1' }), 421],
    ['userinfo', head({ ':authority': `a:b@${HOST}` }), 400],
    ['a Host with another port', head({}, [['host', `${HOST}:80`]]), 400],
    ['http2-settings', head({}, [['http2-settings', 'AAMAAABk']]), 400],
    ['an expectation', head({}, [['expect', 'a-pony']]), 417],
    [
      '300 lines',
      head(
        {},
        Array.from({ length: 300 }, (_, i): Field => [`x-${i}`, '1']),
      ),
      431,
    ],
    [
      '40 KiB',
      head(
        {},
        Array.from({ length: 20 }, (_, i): Field => [`x-${i}`, 'v'.repeat(2_000)]),
      ),
      431,
    ],
    [
      'CONNECT',
      [
        [':method', 'CONNECT'],
        [':authority', HOST],
      ] as Field[],
      405,
    ],
    ['a fragment', head({ ':path': '/a#b' }), 400],
    ['an absolute path with a scheme', head({ ':path': '/a\u00ff' }), 400],
    ['a lower-case method', head({ ':method': 'get' }), 400],
  ])('%s is refused with a record', async (_what, fields, status) => {
    const { answer, bench } = await tell(fields);
    expect(answer.status).toBe(status);
    expect(bench.exchanges).toEqual([]);
    expect(bench.events).toHaveLength(1);
    expect(bench.events[0]).toMatchObject({ action: 'deny', host: HOST, port: 443 });
    const method = fields.find(([name]) => name === ':method')?.[1];
    expect(bench.requests).toMatchObject([{ action: 'deny', host: HOST, http: '2', method, status }]);
  });

  test('a refused method comes with those that are allowed', async () => {
    const bench = await front();
    const session = await h2Client(authority, bench.port);
    const stream = session.request({ ':method': 'CONNECT', ':authority': HOST });
    const [answer] = await once(stream, 'response');
    expect(answer).toMatchObject({ ':status': 405, allow: expect.stringContaining('GET, HEAD, POST') });
    session.destroy();
  });

  test.each([
    ['upper case', head({}, [['X-Up', '1']])],
    ['a late pseudo-header', [...head().slice(0, 3), ['x-a', '1'], [':path', '/']] as Field[]],
    ['two paths', [...head(), [':path', '/b']] as Field[]],
    ['an unknown pseudo-header', [...head(), [':foo', 'x']] as Field[]],
    ['connection', head({}, [['connection', 'close']])],
    ['a length without a body', head({ ':method': 'POST' }, [['content-length', '5']])],
    ['an authority with a path', head({ ':authority': `${HOST}/x` })],
    ['no authority', head().filter(([name]) => name !== ':authority')],
    ['extended CONNECT', [[':protocol', 'websocket'], ...head({ ':method': 'CONNECT' })] as Field[]],
  ])('%s is reset by the parser, and recorded all the same', async (_what, fields) => {
    const { answer, bench } = await tell(fields);
    expect(answer.reset).toBe(1);
    expect(bench.exchanges).toEqual([]);
    expect(bench.events).toEqual([expect.objectContaining({ rule: 'structural.malformed' })]);
    expect(bench.requests).toMatchObject([
      { action: 'deny', rule: 'structural.malformed', host: HOST, port: 443, http: '2', status: 0 },
    ]);
    expect(bench.requests[0]?.reason).toContain('malformed HTTP/2 head');
  });

  test('more header lines than the parser keeps are recorded too', async () => {
    const many = Array.from({ length: 1_100 }, (_, i): Field => [`x${i}`, '']);
    const { bench } = await tell(head({}, many));
    expect(bench.exchanges).toEqual([]);
    expect(bench.requests).toMatchObject([{ action: 'deny', rule: 'structural.malformed', http: '2' }]);
  });

  test('several heads that the parser resets are one record with their number', async () => {
    const bench = await front();
    const wire = await wireTo(bench);
    await wire.settled(wire.request({ headers: head() }));
    for (let i = 0; i < 5; i++) wire.headers(head({}, [['X-Up', '1']]), { end: true });
    const good = wire.request({ headers: head() });
    expect((await wire.settled(good)).status).toBe(200);
    const sum = bench.requests.reduce((all, { repeats = 0 }) => all + 1 + repeats, 0);
    expect(sum).toBe(5);
  });

  test('bytes that are no HTTP/2 leave a record of a request', async () => {
    const bench = await front();
    const socket = await dialTls(authority, bench.port);
    socket.on('error', () => undefined);
    socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    await until('a record', () => bench.requests.length === 1);
    expect(bench.requests[0]).toMatchObject({ action: 'deny', rule: 'structural.malformed', http: '2' });
    socket.destroy();
  });

  test('lines with forbidden bytes vanish before anybody sees them', async () => {
    const extra: Field[] = [
      ['x-a', 'b\r\nhost: evil'],
      ['x y', '1'],
      ['x-nul', 'a\0b'],
      ['x:y', '1'],
      ['x-fine', '1'],
    ];
    const { bench } = await tell(head({}, extra));
    expect(bench.exchanges[0]?.request.headers).toEqual(['host', HOST, 'x-fine', '1']);
  });

  test('cookie crumbs are one header, duplicates stay, in order', async () => {
    const extra: Field[] = [
      ['cookie', 'a=1'],
      ['x', '1'],
      ['cookie', 'b=2'],
      ['x', '2'],
    ];
    const { bench } = await tell(head({}, extra));
    expect(bench.exchanges[0]?.request).toEqual({
      http: '2',
      method: 'GET',
      target: '/a?b=c',
      headers: ['host', HOST, 'cookie', 'a=1; b=2', 'x', '1', 'x', '2'],
      body: { kind: 'none' },
    });
  });
});

/** What a body looked like to its sink. */
function seenBy(exchange: ClientExchange | undefined): { text: string; end: string } {
  const seen = { text: '', end: 'open' };
  exchange?.source?.pipe({
    write: (chunk) => {
      seen.text += chunk.toString('latin1');
      return true;
    },
    onDrain: () => undefined,
    end: () => (seen.end = 'end'),
    abort: () => (seen.end = 'abort'),
  });
  return seen;
}

describe('bodies', () => {
  const post = (length: number): Field[] => head({ ':method': 'POST' }, [['content-length', String(length)]]);

  test.each([
    ['short', 9, ['hello'], true],
    ['long', 3, ['hello'], true],
    ['long, in a second frame', 5, ['hello', 'GET /evil'], true],
    ['reset', 9, ['hello'], false],
  ] as const)('a body that is %s never looks whole', async (_what, length, parts, end) => {
    let seen = { text: '', end: 'none' };
    const bench = await front((_core, _scope, exchange) => void (seen = seenBy(exchange)));
    const wire = await wireTo(bench);
    const stream = wire.headers(post(length));
    for (const [i, part] of parts.entries()) {
      wire.data(stream, part, end && i === parts.length - 1);
      await sleep(15);
    }
    if (!end) wire.reset(stream);
    await until('the end', () => seen.end !== 'open' && seen.end !== 'none');
    expect(seen.end).toBe('abort');
    expect(seen.text.length).toBeLessThan(length);
  });

  test('a length of 0 with DATA begins no exchange; without DATA it does', async () => {
    const bench = await front();
    const wire = await wireTo(bench);
    const bad = wire.request({ headers: post(0), body: 'GET /v1/files' });
    expect((await wire.settled(bad)).reset).toBe(1);
    expect(bench.exchanges).toEqual([]);
    const good = wire.headers(post(0));
    wire.data(good, '', true);
    expect((await wire.settled(good)).status).toBe(200);
    expect(bench.exchanges[0]?.request.body).toEqual({ kind: 'length', bytes: 0 });
    const get = wire.headers(head());
    wire.data(get, '', true);
    expect((await wire.settled(get)).status).toBe(200);
    expect(bench.exchanges[1]?.request.body).toEqual({ kind: 'none' });
    const getWithBody = wire.request({ headers: head(), body: 'x' });
    await wire.settled(getWithBody);
    expect(bench.exchanges[2]?.source).toBeDefined();
  });

  test('100 Continue', async () => {
    const bench = await front((core, scope, exchange) => {
      expect(exchange.expectsContinue).toBe(true);
      exchange.sendContinue();
      polite(core, scope, exchange);
    });
    const session = await h2Client(authority, bench.port);
    const stream = session.request({ ':method': 'POST', ':path': '/', expect: '100-continue' });
    await once(stream, 'continue');
    const reply = readReply(stream);
    stream.end('body');
    expect((await reply).headers[':status']).toBe(200);
    session.destroy();
  });

  test('an answer before the body ends: the client is told to stop', async () => {
    const verdict = { action: 'deny', rule: 'test', reason: 'no' } as const;
    const bench = await front((_core, _scope, exchange) => exchange.answer(problemOf(403, verdict)));
    const wire = await wireTo(bench);
    const stream = wire.headers(head({ ':method': 'POST' }));
    wire.data(stream, 'some', false);
    await until('the reset', () => wire.answer(stream).reset !== undefined);
    expect(wire.answer(stream)).toMatchObject({ status: 403, ended: true, reset: 0 });
    expect(String(wire.answer(stream).body)).toContain('"rule":"test"');
  });

  test('a cut answer is a reset without END_STREAM, whatever was sent', async () => {
    for (const cut of ['destroy', 'abort'] as const) {
      const bench = await front((_core, _scope, exchange) => {
        const sink = exchange.respond({ status: 200, headers: [] }, true);
        sink.write(Buffer.from('part'));
        setTimeout(() => (cut === 'abort' ? sink.abort() : exchange.destroy()), 20);
      });
      const wire = await wireTo(bench);
      const stream = wire.request({ headers: head() });
      await until('the reset', () => wire.answer(stream).reset !== undefined);
      expect(wire.answer(stream)).toMatchObject({ ended: false, reset: 2 });
    }
  });

  test('an answer that cannot be sent is a 502', async () => {
    const heads = [
      { status: 200, headers: ['x', 'a\r\nb'] },
      { status: 700, headers: [] },
      { status: 200, headers: ['content-type', 'a', 'content-type', 'b'] },
    ];
    const bench = await front((_core, _scope, exchange) => {
      exchange.respond(heads[bench.exchanges.length - 1] ?? { status: 200, headers: [] }, true).end();
    });
    const wire = await wireTo(bench);
    for (const _ of heads) expect((await wire.settled(wire.request({ headers: head() }))).status).toBe(502);
  });
});

describe('floods', () => {
  const calm = async (wire: RawH2, bench: FrontBench): Promise<void> => {
    expect(await wire.ended(6_000)).toBe(true);
    await until('the socket is gone', () => bench.sockets.size === 0);
  };
  const flooded = (bench: FrontBench): number =>
    bench.events.filter((event) => event.rule === 'structural.http2-flood').length;

  test.each([
    ['PING', (wire: RawH2) => wire.ping()],
    ['SETTINGS', (wire: RawH2) => wire.settings([[4, 65_535]])],
  ])('%s', async (_name, send) => {
    const bench = await front();
    const wire = await wireTo(bench);
    for (let i = 0; i < 1_000 && !wire.closed; i++) {
      send(wire);
      if (i % 20 === 0) await sleep(1);
    }
    await calm(wire, bench);
    expect(wire.goaway?.code).toBe(0xb);
    expect(flooded(bench)).toBe(1);
  });

  test('malformed streams', async () => {
    const bench = await front();
    const wire = await wireTo(bench);
    for (let i = 0; i < 400 && !wire.closed; i++) {
      wire.headers(head({}, [['X-Up', '1']]), { end: true });
      if (i % 20 === 0) await sleep(1);
    }
    await calm(wire, bench);
    expect(bench.events.length).toBeGreaterThan(0);
  });

  test.each([
    ['window updates', (wire: RawH2) => wire.windowUpdate(0, 1)],
    ['priorities', (wire: RawH2) => wire.send(frame(FRAME.priority, 0, 2_001, Buffer.from([0, 0, 0, 0, 1])))],
    ['unknown frames', (wire: RawH2) => wire.send(frame(0x77, 0, 0, Buffer.alloc(1_000)))],
  ])('%s without a use', async (_name, send) => {
    const bench = await front(polite, { limits: { idleMs: 300 }, h2: { windowMs: 400, idleBytes: 20_000 } });
    const wire = await wireTo(bench);
    const held = wire.headers(head({ ':method': 'POST' }));
    expect(held).toBe(1);
    const end = Date.now() + 6_000;
    while (!wire.closed && Date.now() < end) {
      for (let i = 0; i < 200 && !wire.closed; i++) send(wire);
      await sleep(10);
    }
    await calm(wire, bench);
    expect(flooded(bench)).toBe(1);
  });

  test('but not a body that takes longer than a window', async () => {
    const bench = await front(polite, { limits: { idleMs: 300 }, h2: { windowMs: 300, idleBytes: 5_000 } });
    const wire = await wireTo(bench);
    const stream = wire.headers(head({ ':method': 'POST' }));
    for (let i = 0; i < 40 && !wire.closed; i++) {
      wire.data(stream, 'x'.repeat(1_500), i === 39);
      await sleep(30);
    }
    expect((await wire.settled(stream)).status).toBe(200);
    expect(flooded(bench)).toBe(0);
  });

  test.each([
    ['full', headerBlock([['x-a', 'v'.repeat(100)]])],
    ['empty', Buffer.alloc(0)],
  ])('CONTINUATION, %s', async (_name, block) => {
    const bench = await front(polite, { limits: { headMs: 500, lingerMs: 100 } });
    const wire = await wireTo(bench);
    const stream = wire.headers(head(), { leaveOpen: true });
    for (let i = 0; i < 2_000 && !wire.closed; i++) {
      wire.send(frame(FRAME.continuation, 0, stream, block));
      if (i % 50 === 0) await sleep(1);
    }
    await calm(wire, bench);
    expect(bench.exchanges).toEqual([]);
  });

  test('a header bomb and empty DATA', async () => {
    const bench = await front(polite, { limits: { headMs: 500, lingerMs: 100 } });
    const bomb = await wireTo(bench);
    bomb.headers(head({}, [['x', 'v'.repeat(200_000)]]), { end: true });
    expect((await bomb.ended(1_000)) || bomb.goaway !== undefined).toBe(true);
    bomb.destroy();
    const empty = await wireTo(bench);
    const stream = empty.headers(head({ ':method': 'POST' }));
    for (let i = 0; i < 2_000 && !empty.closed; i++) {
      empty.send(frame(FRAME.data, 0, stream));
      if (i % 50 === 0) await sleep(1);
    }
    await calm(empty, bench);
  });

  test('more streams than were offered', async () => {
    const bench = await front(() => undefined, { h2: { streams: 10 } });
    const wire = await wireTo(bench);
    await sleep(20);
    const streams = Array.from({ length: 12 }, () => wire.headers(head({ ':method': 'POST' })));
    await until(
      'those over the limit end',
      () => wire.closed || streams.slice(10).every((each) => wire.answer(each).reset !== undefined),
    );
    expect(bench.exchanges.length).toBeLessThanOrEqual(10);
  });

  test('more streams than the gateway has room for', async () => {
    const bench = await front(() => undefined, { h2: { streamsInAll: 5 } });
    const [one, two] = [await wireTo(bench), await wireTo(bench)];
    for (let i = 0; i < 3; i++) one.request({ headers: head() });
    await until('three', () => bench.exchanges.length === 3);
    const streams = [1, 2, 3].map(() => two.request({ headers: head() }));
    expect((await two.settled(streams[2] ?? 0)).status).toBe(503);
    one.destroy();
    await until('room again', () => bench.sockets.size === 1);
    two.request({ headers: head() });
    await until('it begins', () => bench.exchanges.length === 6);
  });
});

describe('time', () => {
  const limits = { headMs: 150, idleMs: 150, stallMs: 200, upstreamIdleMs: 400, lingerMs: 50 };

  test('a client that says nothing, half a preface, half a head', async () => {
    const bench = await front(polite, { limits });
    const silent = await dialTls(authority, bench.port);
    const half = await dialTls(authority, bench.port);
    half.write('PRI * HTTP/2.0\r\n');
    const wire = await wireTo(bench);
    wire.headers(head(), { leaveOpen: true });
    for (const each of [silent, half]) each.on('error', () => undefined).resume();
    await until('all are closed', () => bench.sockets.size === 0);
  });

  test('an idle connection gets a GOAWAY, pings or not', async () => {
    const bench = await front(polite, { limits });
    const wire = await wireTo(bench);
    await wire.settled(wire.request({ headers: head() }));
    const pings = setInterval(() => wire.ping(), 40);
    expect(await wire.ended()).toBe(true);
    clearInterval(pings);
    expect(wire.goaway?.code).toBe(0);
  });

  test('a body that stops, an answer nobody reads, an origin that is silent', async () => {
    const outcomes: boolean[] = [];
    const bench = await front(
      (_core, _scope, exchange) => {
        exchange.onClose((complete) => outcomes.push(complete));
        if (exchange.request.target === '/big')
          exchange.respond({ status: 200, headers: [] }, true).write(Buffer.alloc(1_000_000));
        else seenBy(exchange);
      },
      { limits },
    );
    const wire = await wireTo(bench, false);
    const slow = wire.headers(head({ ':method': 'POST' }));
    const big = wire.request({ headers: head({ ':path': '/big' }) });
    const silent = wire.request({ headers: head({ ':path': '/never' }) });
    await until('all are reset', () => [slow, big, silent].every((each) => wire.answer(each).reset === 2));
    expect(outcomes).toEqual([false, false, false]);
  });

  test('a slow body that moves is not cut', async () => {
    const bench = await front(polite, { limits });
    const wire = await wireTo(bench);
    const stream = wire.headers(head({ ':method': 'POST' }));
    for (let i = 0; i < 12; i++) {
      wire.data(stream, 'x', i === 11);
      await sleep(60);
    }
    expect((await wire.settled(stream)).status).toBe(200);
  });
});

describe('ends', () => {
  test('closing the front closes its connections and tells its exchanges', async () => {
    const outcomes: boolean[] = [];
    const bench = await front((_core, _scope, exchange) =>
      exchange.onClose((complete) => outcomes.push(complete)),
    );
    const wire = await wireTo(bench);
    wire.request({ headers: head() });
    await until('it begins', () => bench.exchanges.length === 1);
    await bench.close();
    open.splice(0);
    expect(await wire.ended()).toBe(true);
    expect(outcomes).toEqual([false]);
  });

  test('garbage in place of a preface, and a client that ends its side', async () => {
    const bench = await front();
    const garbage = await dialTls(authority, bench.port);
    garbage.on('error', () => undefined).resume();
    garbage.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    const wire = await wireTo(bench);
    wire.headers(head({ ':method': 'POST' }));
    await sleep(20);
    wire.socket.end();
    await until('both are gone', () => bench.sockets.size === 0);
  });

  test('complete is said of what was whole', async () => {
    const outcomes: boolean[] = [];
    const bench = await front((core, scope, exchange) => {
      exchange.onClose((complete) => outcomes.push(complete));
      polite(core, scope, exchange);
    });
    const session = connectH2(`https://${HOST}`, {
      createConnection: () =>
        connectTls({
          port: bench.port,
          host: '127.0.0.1',
          servername: HOST,
          ca: authority.pem,
          ALPNProtocols: ['h2'],
        }),
    });
    for (let i = 0; i < 3; i++)
      await readReply(session.request({ ':method': 'POST', ':path': '/' }).end('x'));
    await until('three', () => outcomes.length === 3);
    expect(outcomes).toEqual([true, true, true]);
    session.destroy();
  });

  test('what was written and not taken is not complete', async () => {
    const outcomes: boolean[] = [];
    const bench = await front((_core, _scope, exchange) => {
      exchange.onClose((complete) => outcomes.push(complete));
      const sink = exchange.respond({ status: 200, headers: [] }, true);
      sink.write(Buffer.alloc(1_000_000));
      sink.end();
    });
    for (const leave of ['socket', 'reset'] as const) {
      const wire = await wireTo(bench, false);
      const stream = wire.request({ headers: head() });
      await until('the head', () => wire.answer(stream).body.length > 0);
      if (leave === 'socket') wire.destroy();
      else wire.reset(stream);
      await until('the end', () => outcomes.length === (leave === 'socket' ? 1 : 2));
    }
    expect(outcomes).toEqual([false, false]);
  });

  test('END_HEADERS in nine pieces is one too many for nghttp2, eight are not', async () => {
    const bench = await front();
    const wire = await wireTo(bench);
    const fine = wire.headers(head(), { end: true, pieces: 8 });
    expect((await wire.settled(fine)).status).toBe(200);
    expect(FLAG.endHeaders).toBe(4);
  });
});

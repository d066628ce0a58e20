import { once } from 'node:events';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterEach, describe, expect, test } from 'vitest';
import type {
  ContentScanner,
  CredentialBroker,
  RequestRecord,
  ScanFinding,
  Scrubber,
} from '../../src/gateway/contract.ts';
import type { RequestPolicy } from '../../src/policy/contract.ts';
import { HONEST, policy, rule, startBench, startOrigin, talk, until } from './kit.ts';
import type { Bench, BenchOptions, Origin } from './kit.ts';

const closers: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

function requests(more: Partial<RequestPolicy> = {}): RequestPolicy {
  return {
    refuse: [],
    enforcement: 'enforce',
    http2: false,
    encodedSlash: 'deny',
    websocket: 'deny',
    setHeaders: {},
    removeHeaders: [],
    stripResponseHeaders: [],
    credentials: [],
    dlp: false,
    limits: {},
    ...more,
  };
}

interface World {
  readonly bench: Bench;
  readonly origin: Origin;
  readonly records: RequestRecord[];
  ask(raw: string, quietMs?: number): Promise<string>;
}

async function world(
  answer: string | ((socket: Socket, all: Buffer, chunk: Buffer) => void),
  options: Partial<BenchOptions> & { readonly requests?: RequestPolicy } = {},
): Promise<World> {
  const { requests: ruled, ...more } = options;
  const records: RequestRecord[] = [];
  const origin = await startOrigin(
    typeof answer === 'string' ? (socket) => void socket.write(Buffer.from(answer, 'latin1')) : answer,
  );
  closers.push(() => origin.close());
  const bench = await startBench({
    policy: policy([rule('plain.test', 80, ruled === undefined ? {} : { requests: ruled })]),
    origin: origin.port,
    answers: { 'plain.test': [HONEST] },
    onRequest: (record) => records.push(record),
    ...more,
  });
  closers.push(() => bench.gateway.close());
  const ask = async (raw: string, quietMs = 150): Promise<string> =>
    (await talk(bench.proxy, [raw], quietMs)).bytes.toString('latin1');
  return { bench, origin, records, ask };
}

const get = (path: string, headers = ''): string =>
  `GET http://plain.test${path} HTTP/1.1\r\nHost: plain.test\r\n${headers}\r\n`;
const post = (path: string, body: string, headers = ''): string =>
  `POST http://plain.test${path} HTTP/1.1\r\nHost: plain.test\r\n${headers}Content-Length: ${body.length}\r\n\r\n${body}`;

/** What all requests of a world sent to their origin. */
const sent = (w: World): string => Buffer.concat(w.origin.received).toString('latin1');

function broker(more: Partial<CredentialBroker>): CredentialBroker {
  return {
    wantsBody: () => false,
    check: () => undefined,
    authorize: ({ target, headers }) => Promise.resolve({ state: 'pass', target, headers: [...headers] }),
    readsForm: () => false,
    watchBody: () => undefined,
    scrubber: () => undefined,
    ...more,
  };
}

function scanner(more: Partial<ContentScanner>): ContentScanner {
  return {
    maxInspectBytes: 1_000,
    uninspectable: 'deny',
    action: 'deny',
    everywhere: true,
    name: () => undefined,
    head: () => undefined,
    body: (body) =>
      Buffer.from(body).includes('SECRET') ? { kind: 'canary', place: 'body', hash: 'h' } : undefined,
    message: () => undefined,
    ...more,
  };
}

const deny = {
  action: 'deny',
  rule: 'credential.stray',
  reason: 'a placeholder where it must not be',
} as const;

describe('records', () => {
  test('one for each request, with names of the query and never a value', async () => {
    const w = await world(OK);
    // The first request of the process loads the HTTP half.
    await w.ask(get('/a?token=hunter2&b=1'), 1_500);
    await until('record', () => w.records.length === 1);
    expect(w.records[0]).toMatchObject({
      action: 'allow',
      rule: 'allow:plain.test',
      host: 'plain.test',
      port: 80,
      http: '1.1',
      method: 'GET',
      path: '/a',
      queryNames: ['token', 'b'],
      status: 200,
      upBytes: 0,
      downBytes: 2,
      entry: 'http-proxy',
    });
    expect(JSON.stringify(w.records)).not.toContain('hunter2');
  });

  test('a method that is refused comes with those that are allowed (RFC 9110 §15.5.6)', async () => {
    const w = await world(OK, {
      requests: requests({ allow: [{ methods: ['GET', 'PUT'], path: '/a' }, { path: '/b' }] }),
    });
    const ruled = await w.ask(post('/a', 'x'));
    expect(ruled).toMatch(/^HTTP\/1\.1 405 /);
    expect(ruled).toContain('\r\nAllow: GET, PUT\r\n');
    const structural = await w.ask('TRACE http://plain.test/a HTTP/1.1\r\nHost: plain.test\r\n\r\n');
    expect(structural).toMatch(/^HTTP\/1\.1 405 /);
    expect(structural).toMatch(/\r\nAllow: GET, HEAD, POST, [A-Z, ]+\r\n/);
    expect(sent(w)).toBe('');
  });

  test('a refusal leaves one too', async () => {
    const w = await world(OK);
    await w.ask('GET http://evil.test/x?y=z HTTP/1.1\r\nHost: evil.test\r\n\r\n');
    expect(w.records).toMatchObject([
      { action: 'deny', rule: 'default.deny', host: 'evil.test', status: 403 },
    ]);
  });

  test('a long path is cut', async () => {
    const w = await world(OK);
    await w.ask(get(`/${'a'.repeat(5000)}`));
    expect(w.records[0]?.path.length).toBe(1024);
  });
});

describe('rules', () => {
  const ruled = requests({
    allow: [
      { methods: ['GET'], path: '/v1/**' },
      { methods: ['POST'], path: '/v1/**' },
    ],
  });

  test('a path that no rule allows is refused before anything is dialled', async () => {
    const w = await world(OK, { requests: ruled });
    expect(await w.ask(get('/other'))).toMatch(/^HTTP\/1\.1 403/);
    expect(w.bench.dialled).toEqual([]);
    expect(w.records).toMatchObject([{ action: 'deny', status: 403, path: '/other' }]);
    expect(await w.ask(get('/v1/x'))).toMatch(/^HTTP\/1\.1 200/);
  });

  test('observe lets it pass and says what it would have done', async () => {
    const w = await world(OK, { requests: { ...ruled, enforcement: 'observe' } });
    expect(await w.ask(get('/other'))).toMatch(/^HTTP\/1\.1 200/);
    expect(w.records[0]).toMatchObject({ action: 'allow', status: 200 });
    expect(w.records[0]?.wouldDeny).toBeTruthy();
  });

  test('response headers are stripped', async () => {
    const answer = 'HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 2\r\n\r\nok';
    const w = await world(answer, { requests: requests({ stripResponseHeaders: ['set-cookie'] }) });
    expect(await w.ask(get('/'))).not.toMatch(/set-cookie/i);
  });

  test('a pinned host hands out no session of its own: the next request with it would be refused', async () => {
    const answer = 'HTTP/1.1 200 OK\r\nSet-Cookie: __cf_bm=x\r\nContent-Length: 2\r\n\r\nok';
    const pinned = await world(answer, {
      requests: requests({ pin: { credential: 'K', require: false }, credentials: ['K'] }),
    });
    expect(await pinned.ask(get('/'))).not.toMatch(/set-cookie/i);
    const open = await world(answer, { requests: requests() });
    expect(await open.ask(get('/'))).toMatch(/set-cookie: __cf_bm=x/i);
  });

  test('a JSON body is judged before it leaves', async () => {
    const json = [{ path: '$.evil', match: { kind: 'any' } }] as const;
    const w = await world(OK, { requests: requests({ json }) });
    const type = 'Content-Type: application/json\r\n';
    expect(await w.ask(post('/', '{"evil":1}', type))).toMatch(/^HTTP\/1\.1 403/);
    expect(w.bench.dialled).toEqual([]);
    expect(await w.ask(post('/', '{"good":1}', type))).toMatch(/^HTTP\/1\.1 200/);
    expect(sent(w)).toMatch(/\r\n\r\n\{"good":1\}$/);
  });

  // Refused requests count in the minute too.
  test('limits: body, requests in a minute, requests at once', async () => {
    const w = await world(OK, { requests: requests({ limits: { bodyBytes: 10, requestsPerMinute: 3 } }) });
    const tooLong = await w.ask(post('/', 'a'.repeat(11)));
    expect(tooLong).toMatch(/^HTTP\/1\.1 413/);
    // The key as a policy writes it.
    expect(tooLong).toContain('"remedy":"raise allow:plain.test.limits.body in the policy"');
    const chunked = `POST http://plain.test/ HTTP/1.1\r\nHost: plain.test\r\nTransfer-Encoding: chunked\r\n\r\nb\r\naaaaaaaaaaa\r\n0\r\n\r\n`;
    expect(await w.ask(chunked)).toMatch(/^HTTP\/1\.1 413/);
    expect(sent(w)).not.toContain('0\r\n\r\n');
    expect(await w.ask(get('/'))).toMatch(/^HTTP\/1\.1 200/);
    expect(await w.ask(get('/'))).toMatch(/^HTTP\/1\.1 429/);
    const slow = await world(() => undefined, { requests: requests({ limits: { concurrency: 1 } }) });
    const first = connect(slow.bench.proxy, '127.0.0.1').on('error', () => undefined);
    first.write(get('/'));
    await until('the first is under way', () => slow.origin.received.length === 1);
    expect(await slow.ask(get('/'))).toMatch(/^HTTP\/1\.1 429/);
    first.destroy();
    await until('over', () => slow.records.length === 2);
    expect(slow.records.map((record) => record.status)).toEqual([429, 0]);
  });

  test('the whole time of a request', async () => {
    const w = await world(() => undefined, { requests: requests({ limits: { requestMs: 60 } }) });
    const late = await w.ask(get('/'), 500);
    expect(late).toMatch(/^HTTP\/1\.1 504/);
    expect(late).toContain('raise allow:plain.test.limits.time');
    await until('upstream gone', () => w.origin.sockets.size === 0);
  });
});

/** A broker that finds a secret in the path. */
const finder = broker({
  check: ({ path }) =>
    path.includes('SECRET')
      ? {
          state: 'refuse',
          status: 403,
          alarm: true,
          verdict: {
            action: 'deny',
            rule: 'structural.credential.leak',
            reason: 'the real secret of K is in the path',
          },
        }
      : undefined,
});

test.each(['enforce', 'observe'] as const)(
  'no word of a refusal quotes a path with a secret in it (%s)',
  async (enforcement) => {
    const w = await world(OK, {
      requests: requests({ enforcement, allow: [{ methods: ['GET'], path: '/v1/**' }] }),
      broker: finder,
      scanner: scanner({}),
    });
    expect(await w.ask(get('/v2/SECRET'))).toMatch(/^HTTP\/1\.1 403/);
    expect(w.records).toMatchObject([{ action: 'deny', rule: 'structural.credential.leak', alarm: true }]);
    expect(JSON.stringify([w.records, w.bench.events])).not.toContain('SECRET');
    expect(await w.ask(get('/v3/plain'))).toMatch(enforcement === 'observe' ? /^HTTP\/1\.1 200/ : /403/);
    expect(JSON.stringify(w.records)).toContain('/v3/plain');
  },
);

describe('credentials', () => {
  test('headers, target and body are replaced', async () => {
    const w = await world(OK, {
      broker: broker({
        wantsBody: () => true,
        authorize: ({ headers, body }) =>
          Promise.resolve({
            state: 'pass',
            target: '/swapped',
            headers: [...headers, 'Authorization', 'Bearer REAL', 'Transfer-Encoding', 'chunked'],
            body: Buffer.concat([body ?? Buffer.alloc(0), Buffer.from('+')]),
            credential: 'key',
            pin: 'ok',
          }),
      }),
    });
    expect(await w.ask(post('/asked', 'body'))).toMatch(/^HTTP\/1\.1 200/);
    expect(sent(w)).toMatch(
      /^POST \/swapped HTTP[\s\S]*Authorization: Bearer REAL\r\nContent-Length: 5\r\n\r\nbody\+$/,
    );
    expect(w.records[0]).toMatchObject({ credential: 'key', pin: 'ok', path: '/asked' });
  });

  test('a refusal sends nothing, and the connection is as good as new', async () => {
    let asked = 0;
    const w = await world(OK, {
      broker: broker({
        authorize: ({ target, headers }) =>
          Promise.resolve(
            asked++ === 0
              ? { state: 'refuse', status: 403, verdict: deny, pin: 'foreign', foreign: 'k', alarm: true }
              : { state: 'pass', target, headers: [...headers] },
          ),
      }),
    });
    expect(await w.ask(get('/'))).toMatch(/^HTTP\/1\.1 403/);
    expect(sent(w)).toBe('');
    expect(w.records[0]).toMatchObject({ action: 'deny', pin: 'foreign', foreign: 'k', alarm: true });
    expect(await w.ask(get('/'))).toMatch(/^HTTP\/1\.1 200/);
    expect(w.origin.received).toHaveLength(1);
  });

  test('a broker that fails sends nothing', async () => {
    const w = await world(OK, { broker: broker({ authorize: () => Promise.reject(new Error('no')) }) });
    expect(await w.ask(get('/'))).toMatch(/^HTTP\/1\.1 502/);
    expect(sent(w)).toBe('');
  });

  test.each(['update', 'end'] as const)(
    'a hit in a streamed body (%s) never completes the request',
    async (when) => {
      const watch = {
        update: () => (when === 'update' ? deny : undefined),
        end: () => deny,
      };
      const w = await world(OK, { broker: broker({ watchBody: () => watch }) });
      expect(await w.ask(post('/', 'placeholder'))).toMatch(/^HTTP\/1\.1 403/);
      expect(sent(w)).not.toContain('placeholder');
      expect(w.records).toMatchObject([{ action: 'deny', rule: 'credential.stray', alarm: true }]);
    },
  );
});

describe('scrubbing', () => {
  const scrubber = (): Scrubber => ({
    partsPass: false,
    headers: (headers) => headers.map((text) => text.replaceAll('SECRET', 'xxxxxx')),
    update: (chunk) =>
      Buffer.from(Buffer.from(chunk).toString('latin1').replaceAll('SECRET', 'xxxxxx'), 'latin1'),
    end: () => new Uint8Array(),
  });

  test('ranges are passed on where nothing can be cut by them', async () => {
    const answer =
      'HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-7/9\r\nContent-Length: 8\r\n\r\n[SECRET]';
    const w = await world(answer, {
      broker: broker({ scrubber: () => ({ ...scrubber(), partsPass: true }) }),
    });
    const got = await w.ask(get('/', 'Range: bytes=0-7\r\nA-IM: vcdiff\r\nAccept-Encoding: gzip\r\n'));
    expect(sent(w)).toContain('Range: bytes=0-7');
    expect(sent(w)).toContain('Accept-Encoding: identity');
    expect(sent(w)).not.toMatch(/A-IM|gzip/);
    expect(got).toContain('206 Partial Content');
    expect(got).toContain('Content-Range: bytes 0-7/9');
    expect(got).toContain('[xxxxxx]');
  });

  test('identity is asked for, ranges are not passed on', async () => {
    const answer = 'HTTP/1.1 200 OK\r\nX-Echo: SECRET\r\nContent-Length: 8\r\n\r\n[SECRET]';
    const w = await world(answer, { broker: broker({ scrubber }) });
    const got = await w.ask(get('/', 'Range: bytes=1-2\r\nAccept-Encoding: gzip\r\n'));
    expect(got).toContain('[xxxxxx]');
    expect(got).not.toMatch(/SECRET|content-length/i);
    expect(sent(w)).toContain('Accept-Encoding: identity');
    expect(sent(w)).not.toMatch(/range|gzip/i);
  });

  test('gzip is undone, an unknown coding and a bomb are refused', async () => {
    const coded = (coding: string, body: Buffer): string =>
      `HTTP/1.1 200 OK\r\nContent-Encoding: ${coding}\r\nContent-Length: ${body.length}\r\n\r\n${body.toString('latin1')}`;
    const zipped = await world(coded('gzip', gzipSync('[SECRET]')), { broker: broker({ scrubber }) });
    const got = await zipped.ask(get('/'));
    expect(got).toContain('[xxxxxx]');
    expect(got).not.toMatch(/content-encoding/i);
    const other = await world(coded('zstd', Buffer.from('x')), { broker: broker({ scrubber }) });
    expect(await other.ask(get('/'))).toMatch(/^HTTP\/1\.1 502/);
    const bomb = await world(coded('gzip', gzipSync(Buffer.alloc(30_000_000))), {
      broker: broker({ scrubber }),
    });
    const { closed, bytes } = await talk(bomb.bench.proxy, [get('/')], 500);
    expect(closed).toBe(true);
    expect(bytes.length).toBeLessThan(20_000_000);
    expect(bytes.toString('latin1').endsWith('0\r\n\r\n')).toBe(false);
  });
});

describe('scanning', () => {
  test('a body is looked at before it leaves', async () => {
    const w = await world(OK, { scanner: scanner({}) });
    expect(await w.ask(post('/', 'a SECRET'))).toMatch(/^HTTP\/1\.1 403/);
    expect(w.bench.dialled).toEqual([]);
    expect(w.records).toMatchObject([{ action: 'deny', rule: 'network.dlp', dlp: [{ kind: 'canary' }] }]);
    expect(await w.ask(post('/', 'nothing'))).toMatch(/^HTTP\/1\.1 200/);
  });

  test('too long to be looked at: refused, or let through as it comes', async () => {
    const body = 'a'.repeat(5_000);
    const strict = await world(OK, { scanner: scanner({}) });
    expect(await strict.ask(post('/', body))).toMatch(/^HTTP\/1\.1 413/);
    const lenient = await world(OK, { scanner: scanner({ uninspectable: 'allow' }) });
    expect(await lenient.ask(post('/', body))).toMatch(/^HTTP\/1\.1 200/);
    expect(sent(lenient).endsWith(body)).toBe(true);
  });

  test('observe records what it found', async () => {
    const w = await world(OK, { scanner: scanner({ action: 'observe' }) });
    expect(await w.ask(post('/', 'a SECRET'))).toMatch(/^HTTP\/1\.1 200/);
    expect(w.records).toMatchObject([{ action: 'allow', dlp: [{ kind: 'canary' }] }]);
  });

  test('what cannot be looked into is refused or let through as the policy says; what was not looked at is refused', async () => {
    const kind = (what: string): Pick<ContentScanner, 'body'> => ({
      body: () => ({ kind: what, place: 'body', hash: 'h' }),
    });
    const ask = async (what: string, uninspectable: 'allow' | 'deny'): Promise<string> => {
      const w = await world(OK, { scanner: scanner({ uninspectable, ...kind(what) }) });
      const answer = await w.ask(post('/', 'x'));
      expect(w.records).toMatchObject([{ dlp: [{ kind: what }] }]);
      return answer.slice(0, 12);
    };
    expect(await ask('uninspectable:coding', 'deny')).toBe('HTTP/1.1 403');
    expect(await ask('uninspectable:coding', 'allow')).toBe('HTTP/1.1 200');
    expect(await ask('unscanned:time', 'allow')).toBe('HTTP/1.1 403');
  });

  test('a verdict that comes later is waited for, and nothing leaves before it', async () => {
    const settle: ((finding: ScanFinding | undefined) => void)[] = [];
    const body = (): Promise<ScanFinding | undefined> => new Promise((resolve) => settle.push(resolve));
    const w = await world(OK, { scanner: scanner({ body }) });
    const answers = [w.ask(post('/a', 'one'), 1_500), w.ask(post('/b', 'two'), 1_500)];
    await until('both wait', () => settle.length === 2);
    expect(w.bench.dialled).toEqual([]);
    settle[1]?.({ kind: 'canary', place: 'body', hash: 'h' });
    expect(await answers[1]).toMatch(/^HTTP\/1\.1 403/);
    settle[0]?.(undefined);
    expect(await answers[0]).toMatch(/^HTTP\/1\.1 200/);
    expect(w.records).toMatchObject([
      { action: 'deny', rule: 'network.dlp', dlp: [{ kind: 'canary' }] },
      { action: 'allow' },
    ]);
  });

  test('a client that leaves meanwhile leaves nothing: no origin is dialled for it', async () => {
    const settle: ((finding: ScanFinding | undefined) => void)[] = [];
    const body = (): Promise<ScanFinding | undefined> => new Promise((resolve) => settle.push(resolve));
    const w = await world(OK, { scanner: scanner({ body }) });
    const client = connect(w.bench.proxy, '127.0.0.1').on('error', () => undefined);
    client.write(post('/a', 'one'));
    await until('it waits', () => settle.length === 1);
    client.destroy();
    await until('it is recorded', () => w.records.length === 1);
    settle[0]?.(undefined);
    await new Promise((resolve) => setImmediate(resolve));
    expect(w.bench.dialled).toEqual([]);
  });
});

describe('connections', () => {
  test('pipelined requests are answered one after another, in order', async () => {
    const w = await world((socket, _all, chunk) => {
      const path = /GET (\S+)/.exec(chunk.toString())?.[1] ?? '';
      setTimeout(() => socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${path.length}\r\n\r\n${path}`), 10);
    });
    const got = await w.ask(`${get('/1')}${get('/2')}${get('/3')}`, 300);
    expect(got.match(/\/[123](?=HTTP|$)/g)).toEqual(['/1', '/2', '/3']);
    expect(w.origin.received).toHaveLength(1);
  });

  test('2,000 pipelined requests', async () => {
    const w = await world(OK);
    const got = await w.ask(get('/').repeat(2_000), 500);
    expect(got.match(/200 OK/g)).toHaveLength(2_000);
  });

  test('HTTP/1.0 gets a body that ends with its connection, and one request', async () => {
    const w = await world('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n');
    const raw = 'GET http://plain.test/ HTTP/1.0\r\nHost: plain.test\r\n\r\n';
    const { bytes, closed } = await talk(w.bench.proxy, [raw + raw], 300);
    expect(bytes.toString()).toMatch(/\r\nConnection: close\r\n\r\nok$/);
    expect(closed).toBe(true);
  });

  test('HEAD keeps its length and has no body', async () => {
    const w = await world('HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n');
    const raw = get('/').replace('GET', 'HEAD');
    const got = await w.ask(raw + raw, 300);
    expect(got.match(/Content-Length: 5000\r\n\r\n/g)).toHaveLength(2);
  });

  test('an early answer ends the upload upstream, and the client reads it', async () => {
    const w = await world((socket, all, chunk) => {
      if (all.length === chunk.length) socket.write('HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno');
    });
    const socket = connect(w.bench.proxy, '127.0.0.1').on('error', () => undefined);
    let got = '';
    socket.on('data', (data) => (got += data.toString()));
    socket.write(
      'POST http://plain.test/ HTTP/1.1\r\nHost: plain.test\r\nContent-Length: 3000000\r\n\r\nstart',
    );
    await until('the early answer', () => got.endsWith('no'));
    await until('upstream closed', () => w.origin.sockets.size === 0);
    socket.write(Buffer.alloc(2_999_995, 97));
    socket.write(get('/next'));
    await until('the next answer', () => got.match(/413/g)?.length === 2);
    socket.destroy();
    expect(w.origin.received).toHaveLength(2);
  });

  test('a body with a broken chunk is refused, and never whole at the origin', async () => {
    const w = await world(() => undefined);
    const head = 'POST http://plain.test/ HTTP/1.1\r\nHost: plain.test\r\nTransfer-Encoding: chunked\r\n\r\n';
    const { bytes } = await talk(w.bench.proxy, [`${head}2\r\nab\r\n`, 'zz\r\n'], 300);
    expect(bytes.toString()).toMatch(/^HTTP\/1\.1 400/);
    expect(sent(w)).not.toMatch(/0\r\n\r\n$/);
    await until('record', () => w.records.length === 1);
    expect(w.records[0]).toMatchObject({ action: 'deny', rule: 'structural.malformed', status: 400 });
  });

  test.each([
    ['two lengths', 'Content-Length: 2\r\nContent-Length: 2\r\n\r\nok'],
    ['a length and chunks', 'Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['a bare LF', 'A: b\nContent-Length: 2\r\n\r\nok'],
    ['a folded line', 'A: b\r\n c\r\nContent-Length: 2\r\n\r\nok'],
    ['gzip as a transfer coding', 'Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n'],
  ])('an answer with %s is refused', async (_what, rest) => {
    const w = await world(`HTTP/1.1 200 OK\r\n${rest}`);
    expect(await w.ask(get('/'))).toMatch(/^HTTP\/1\.1 502/);
    await until('not kept', () => w.origin.sockets.size === 0);
  });

  test('a slow reader of the last answer gets all of it', async () => {
    const body = 'x'.repeat(3_000_000);
    const w = await world(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`, {
      limits: { lingerMs: 50 },
    });
    const socket = connect(w.bench.proxy, '127.0.0.1').on('error', () => undefined);
    socket.write(get('/', 'Connection: close\r\n'));
    await once(socket, 'readable');
    await new Promise((resolve) => setTimeout(resolve, 300));
    let got = 0;
    socket.on('data', (data) => (got += data.length));
    await once(socket, 'end');
    expect(got).toBeGreaterThan(body.length);
    socket.destroy();
  });

  test('a kept connection that the origin closed is tried again once, without a body only', async () => {
    let seen = 0;
    const w = await world((socket) => {
      seen++;
      if (seen === 2 || seen === 4) return void socket.destroy();
      socket.write(OK);
    });
    expect(await w.ask(get('/1'))).toContain('200 OK');
    expect(await w.ask(get('/2'))).toContain('200 OK');
    expect(await w.ask(post('/3', 'once'))).toMatch(/^HTTP\/1\.1 502/);
    expect(sent(w).match(/once/g)).toHaveLength(1);
  });
});

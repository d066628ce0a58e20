import { once } from 'node:events';
import { createServer as createTlsServer } from 'node:tls';
import type { TLSSocket } from 'node:tls';
import { afterEach, describe, expect, test } from 'vitest';
import type {
  BodySink,
  ExchangeRequest,
  ResponseHead,
  UpstreamConnection,
} from '../../src/gateway/http/contract.ts';
import { H2_LIMITS } from '../../src/gateway/http/h2-limits.ts';
import { openH2 } from '../../src/gateway/http/h2-upstream.ts';
import { dialTls, HOST, newAuthority, OnePool, startH2Origin } from './h2-kit.ts';
import type { H2Origin } from './h2-kit.ts';
import { FLAG, frame, FRAME, headerBlock } from './h2-wire.ts';
import type { Field } from './h2-wire.ts';
import { portOf, sleep, until } from './kit.ts';
import { allowed, readRule } from './tls-kit.ts';

const authority = newAuthority();
const open: { close(): unknown }[] = [];
afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each.close();
});

const request = (more: Partial<ExchangeRequest> = {}): ExchangeRequest => ({
  http: '1.1',
  method: 'GET',
  target: '/',
  headers: ['Host', HOST, 'X-Some', 'a', 'x-some', 'b'],
  body: { kind: 'none' },
  ...more,
});

interface Outcome {
  readonly head?: ResponseHead;
  readonly body?: string;
  readonly aborted?: boolean;
  readonly why?: string;
  readonly retryable?: boolean;
}

/** Sends one request and says what became of it. */
function exchange(
  connection: UpstreamConnection,
  asked = request(),
  slow = false,
): { sink: BodySink | undefined; outcome: Promise<Outcome> } {
  let sink: BodySink | undefined;
  const outcome = new Promise<Outcome>((resolve) => {
    sink = connection.send(asked, {
      failed: (why, retryable) => resolve({ why, retryable }),
      response: (head, source) => {
        if (source === undefined) return resolve({ head });
        const chunks: Buffer[] = [];
        source.pipe({
          write: (chunk) => chunks.push(chunk) > 0 && !slow,
          onDrain: (resume) => slow && void setInterval(resume, 20).unref(),
          end: () => resolve({ head, body: Buffer.concat(chunks).toString() }),
          abort: () => resolve({ head, aborted: true, body: Buffer.concat(chunks).toString() }),
        });
      },
    });
  });
  return { sink, outcome };
}

async function origin(
  onStream: Parameters<typeof startH2Origin>[1],
  settings: Parameters<typeof startH2Origin>[2] = {},
): Promise<H2Origin> {
  const started = await startH2Origin(authority, onStream, settings);
  open.push(started);
  return started;
}

function pool(port: number, options: ConstructorParameters<typeof OnePool>[2] = {}): OnePool {
  const made = new OnePool(authority, port, options);
  open.push(made);
  return made;
}

/** An origin that says what it is told to, frame by frame, once the client's preface is there. */
async function rawOrigin(
  onFrames: (socket: TLSSocket, type: number, stream: number) => void,
): Promise<number> {
  const server = createTlsServer(
    { SNICallback: (name, done) => done(null, authority.contextFor(name)), ALPNProtocols: ['h2'] },
    (socket) => {
      let data = Buffer.alloc(0);
      let begun = false;
      socket.on('error', () => undefined);
      socket.write(Buffer.concat([frame(FRAME.settings, 0, 0), frame(FRAME.settings, FLAG.ack, 0)]));
      socket.on('data', (chunk: Buffer) => {
        data = Buffer.concat([data, chunk]);
        if (!begun && data.length < PREFACE_BYTES) return;
        if (!begun) data = data.subarray(PREFACE_BYTES);
        begun = true;
        while (data.length >= 9 && data.length >= 9 + data.readUIntBE(0, 3)) {
          const type = data[3] ?? 0;
          const stream = data.readUInt32BE(5);
          data = data.subarray(9 + data.readUIntBE(0, 3));
          onFrames(socket, type, stream);
        }
      });
    },
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  open.push({ close: () => server.close() });
  return portOf(server);
}

/** "PRI * HTTP/2.0" and so on (RFC 9113 §3.4). */
const PREFACE_BYTES = 24;

const OK: readonly Field[] = [[':status', '200']];
const head = (stream: number, fields: readonly Field[], end: boolean): Buffer =>
  frame(FRAME.headers, FLAG.endHeaders | (end ? FLAG.endStream : 0), stream, headerBlock(fields));
const goaway = (last: number, code: number): Buffer => {
  const payload = Buffer.alloc(8);
  payload.writeUInt32BE(last, 0);
  payload.writeUInt32BE(code, 4);
  return frame(FRAME.goaway, 0, 0, payload);
};
const reset = (stream: number, code: number): Buffer => {
  const payload = Buffer.alloc(4);
  payload.writeUInt32BE(code);
  return frame(FRAME.reset, 0, stream, payload);
};

describe('an HTTP/2 session to an origin', () => {
  test('many requests on one connection; names lower-case, duplicates in order', async () => {
    const far = await origin((stream) => {
      stream.respond({ ':status': 200, 'x-two': ['1', '2'] });
      stream.end('ok');
    });
    const own = pool(far.port);
    const first = await own.acquire();
    expect(first).toMatchObject({ http: '2', reused: false });
    const outcome = await exchange(first).outcome;
    expect(outcome.body).toBe('ok');
    expect(outcome.head?.headers.filter((_, i, all) => all[i - (i % 2)] === 'x-two')).toEqual([
      'x-two',
      '1',
      'x-two',
      '2',
    ]);
    expect(outcome.head?.headers.some((name) => name.startsWith(':'))).toBe(false);
    const raw = far.streams[0]?.raw ?? [];
    expect(raw.filter((_, i) => raw[i - (i % 2)] === 'x-some')).toEqual(['x-some', 'a', 'x-some', 'b']);
    expect(raw).not.toContain('host');
    const many = await Promise.all(
      Array.from({ length: 60 }, async () => exchange(await own.acquire()).outcome),
    );
    expect(many.every((each) => each.body === 'ok')).toBe(true);
    expect(far.sessions.size).toBe(1);
    expect((await own.acquire()).reused).toBe(true);
  });

  test('the origin’s limit of streams is kept', async () => {
    let now = 0;
    let most = 0;
    const far = await origin(
      (stream) => {
        most = Math.max(most, ++now);
        setTimeout(() => {
          now--;
          stream.respond({ ':status': 204 }, { endStream: true });
        }, 5);
      },
      { maxConcurrentStreams: 3 },
    );
    const own = pool(far.port);
    const session = await own.session();
    await exchange(await own.acquire()).outcome;
    await sleep(10);
    const taken = [session.open(), session.open(), session.open(), session.open()];
    expect(taken.map((each) => each === undefined)).toEqual([false, false, false, true]);
    taken[0]?.release();
    expect(session.open()).toBeDefined();
    for (const each of taken.slice(1)) each?.release();
    expect(most).toBeLessThanOrEqual(3);
  });

  test('REFUSED_STREAM and a GOAWAY below the stream may be tried again; other resets may not', async () => {
    const codes = [7, 2, 8, 11];
    let turn = 0;
    const port = await rawOrigin((socket, type, stream) => {
      if (type === FRAME.headers) socket.write(reset(stream, codes[turn++] ?? 0));
    });
    const own = pool(port);
    const outcomes = [];
    for (let i = 0; i < codes.length; i++) outcomes.push(await exchange(await own.acquire()).outcome);
    expect(outcomes.map((each) => each.retryable)).toEqual([true, false, false, false]);
    for (const code of [0, 2]) {
      const gone = await rawOrigin((socket, type) => {
        if (type === FRAME.headers) socket.end(goaway(0, code));
      });
      expect(await exchange(await pool(gone).acquire()).outcome).toMatchObject({ retryable: true });
      const late = await rawOrigin((socket, type, stream) => {
        if (type === FRAME.headers) socket.end(goaway(stream, code));
      });
      expect(await exchange(await pool(late).acquire()).outcome).toMatchObject({ retryable: false });
    }
  });

  test('a graceful GOAWAY lets what is open end, and takes nothing new', async () => {
    const port = await rawOrigin((socket, type, stream) => {
      if (type !== FRAME.headers) return;
      socket.write(goaway(stream, 0));
      setTimeout(
        () =>
          socket.write(
            Buffer.concat([head(stream, OK, false), frame(FRAME.data, 1, stream, Buffer.from('last'))]),
          ),
        30,
      );
    });
    const own = pool(port);
    const session = await own.session();
    const { outcome } = exchange(await own.acquire());
    await sleep(15);
    expect(session.open()).toBeUndefined();
    expect((await outcome).body).toBe('last');
  });

  test('a kept connection that closes before a byte came back', async () => {
    let count = 0;
    const port = await rawOrigin((socket, type, stream) => {
      if (type !== FRAME.headers) return;
      if (count++ === 0) socket.write(head(stream, OK, true));
      else socket.destroy();
    });
    const own = pool(port);
    expect((await exchange(await own.acquire()).outcome).head?.status).toBe(200);
    await sleep(20);
    expect(await exchange(await own.acquire()).outcome).toMatchObject({ retryable: true });
  });

  test('a reset in the middle of an answer never looks like its end', async () => {
    for (const code of [1, 2, 8]) {
      const port = await rawOrigin((socket, type, stream) => {
        if (type !== FRAME.headers) return;
        socket.write(
          Buffer.concat([
            head(stream, OK, false),
            frame(FRAME.data, 0, stream, Buffer.from('half')),
            reset(stream, code),
          ]),
        );
      });
      expect(await exchange(await pool(port).acquire()).outcome).toMatchObject({ aborted: true });
    }
  });

  test('the same for a reader that is slow, and an end is an end for it, too', async () => {
    const part = frame(FRAME.data, 0, 1, Buffer.alloc(16_000, 97));
    const body = Buffer.concat(Array.from({ length: 5 }, () => part));
    for (const last of [frame(FRAME.data, FLAG.endStream, 1, Buffer.from('z')), reset(1, 8)]) {
      const port = await rawOrigin((socket, type) => {
        if (type === FRAME.headers) socket.write(Buffer.concat([head(1, OK, false), body, last]));
      });
      const isWhole = last[3] === FRAME.data;
      const outcome = await exchange(await pool(port).acquire(), request(), true).outcome;
      expect(outcome.aborted).toBe(isWhole ? undefined : true);
      if (isWhole) expect(outcome.body?.length).toBe(80_001);
    }
  });

  test('a reset with NO_ERROR ends an answer, unless its length says otherwise', async () => {
    for (const [length, aborted] of [
      ['4', undefined],
      ['9', true],
    ] as const) {
      const port = await rawOrigin((socket, type) => {
        if (type !== FRAME.headers) return;
        const fields: Field[] = [...OK, ['content-length', length]];
        const parts = [head(1, fields, false), frame(FRAME.data, 0, 1, Buffer.from('half')), reset(1, 0)];
        socket.write(Buffer.concat(parts));
      });
      const outcome = await exchange(await pool(port).acquire()).outcome;
      expect(outcome).toMatchObject({ body: 'half' });
      expect(outcome.aborted).toBe(aborted);
    }
  });

  test('an answer shorter than its Content-Length is broken', async () => {
    const fields: Field[] = [...OK, ['content-length', '9']];
    const port = await rawOrigin((socket, type, stream) => {
      if (type !== FRAME.headers) return;
      socket.write(
        Buffer.concat([head(stream, fields, false), frame(FRAME.data, 1, stream, Buffer.from('half'))]),
      );
    });
    expect(await exchange(await pool(port).acquire()).outcome).toMatchObject({ aborted: true });
  });

  test('informational answers are dropped, a flood of them ends the request', async () => {
    const hint = (stream: number): Buffer =>
      head(
        stream,
        [
          [':status', '103'],
          ['link', '</x>'],
        ],
        false,
      );
    let count = 3;
    const port = await rawOrigin((socket, type, stream) => {
      if (type !== FRAME.headers) return;
      for (let i = 0; i < count; i++) socket.write(hint(stream));
      socket.write(head(stream, OK, true));
    });
    const own = pool(port);
    expect((await exchange(await own.acquire()).outcome).head).toEqual({ status: 200, headers: [] });
    count = 100;
    expect((await exchange(await own.acquire()).outcome).why).toContain('informational');
  });

  test.each([
    ['PING', frame(FRAME.ping, 0, 0, Buffer.alloc(8))],
    ['SETTINGS', frame(FRAME.settings, 0, 0)],
  ])('a flood of %s from the origin ends the session', async (_name, flood) => {
    const port = await rawOrigin((socket, type) => {
      if (type !== FRAME.headers) return;
      for (let i = 0; i < 20; i++)
        setTimeout(() => socket.write(Buffer.concat(Array.from({ length: 50 }, () => flood))), i * 5);
    });
    const own = pool(port);
    expect(await exchange(await own.acquire()).outcome).toMatchObject({ retryable: false });
    await until('the end', () => own.sockets[0]?.destroyed === true);
  });

  test('a push breaks the protocol', async () => {
    const promise = Buffer.concat([
      Buffer.from([0, 0, 0, 2]),
      headerBlock([
        [':method', 'GET'],
        [':path', '/p'],
        [':scheme', 'https'],
        [':authority', HOST],
      ]),
    ]);
    const port = await rawOrigin((socket, type, stream) => {
      if (type === FRAME.headers) socket.write(frame(FRAME.push, FLAG.endHeaders, stream, promise));
    });
    const own = pool(port);
    expect((await exchange(await own.acquire()).outcome).why).toBeDefined();
  });

  test('an idle session closes by itself', async () => {
    const far = await origin((stream) => stream.respond({ ':status': 204 }, { endStream: true }));
    const own = pool(far.port, { idleMs: 80 });
    await exchange(await own.acquire()).outcome;
    await until('the close', () => far.sessions.size === 0 && own.sockets[0]?.destroyed === true);
  });

  test('a request that is given up is cancelled, and cannot look complete', async () => {
    const far = await origin((stream) => stream.resume());
    const own = pool(far.port);
    const connection = await own.acquire();
    const { sink } = exchange(connection, request({ method: 'POST', body: { kind: 'chunked' } }));
    sink?.write(Buffer.from('part'));
    await until('it is there', () => far.streams.length === 1);
    await sleep(20);
    connection.abort();
    const stream = far.streams[0]?.stream;
    await until('the cancel', () => stream?.closed === true);
    expect(stream?.rstCode).toBe(8);
    expect(stream?.readableEnded && !stream.aborted).toBe(false);
  });

  test('what may not be sent is not sent', async () => {
    const far = await origin((stream) => stream.respond({ ':status': 204 }, { endStream: true }));
    const own = pool(far.port);
    const bad = request({ headers: ['Host', HOST, 'x-a', 'b\r\nhost: evil.test'] });
    expect((await exchange(await own.acquire(), bad).outcome).why).toContain('x-a');
    const twice = request({ headers: ['Host', HOST, 'authorization', 'a', 'authorization', 'b'] });
    expect((await exchange(await own.acquire(), twice).outcome).why).toContain('authorization');
    expect(far.streams).toEqual([]);
    const proto = request({
      headers: ['Host', HOST, '__proto__', 'x', 'Connection', 'close', 'Keep-Alive', '1'],
    });
    expect((await exchange(await own.acquire(), proto).outcome).head?.status).toBe(204);
    expect(far.streams[0]?.raw).toContain('__proto__');
    expect(far.streams[0]?.raw).not.toContain('connection');
  });

  test('no more than the window is taken from an origin while nobody reads', async () => {
    const far = await origin((stream) => {
      stream.respond({ ':status': 200 });
      stream.end(Buffer.alloc(8 * 1024 * 1024));
    });
    const socket = await dialTls(authority, far.port);
    open.push({ close: () => socket.destroy() });
    const session = openH2({ poolIdleMs: 1_000 }, H2_LIMITS)(
      socket,
      '127.0.0.1',
      allowed(readRule(HOST)),
      () => undefined,
    );
    session.open()?.send(request(), { response: () => undefined, failed: () => undefined });
    await sleep(300);
    expect(socket.bytesRead).toBeLessThan(H2_LIMITS.originWindow + 64 * 1024);
  });
});

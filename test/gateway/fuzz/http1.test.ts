import { once } from 'node:events';
import { createServer } from 'node:http';
import { connect } from 'node:net';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { judgeHead } from '../../../src/net/http-head.ts';
import { ChunkedDecoder } from '../../../src/net/http1-body.ts';
import { readRequestHead, readResponseHead } from '../../../src/net/http1-head.ts';
import { portOf } from '../kit.ts';

const CAPS = { bytes: 16 * 1024, lines: 64 };
const RUNS = { numRuns: 2_000, seed: 20_261_121 };

/** Pieces that heads are made of, good and bad. */
const piece = fc.constantFrom(
  ...[
    'GET',
    'POST',
    'get',
    ' ',
    '  ',
    '\t',
    '/',
    '/a?b',
    '*',
    'HTTP/1.1',
    'HTTP/1.0',
    'HTTP/1.2',
    'HTTP/1.1 200 OK',
  ],
  ...[
    '\r\n',
    '\r\n\r\n',
    '\n',
    '\r',
    ':',
    ': ',
    'Host',
    'Host: x.test',
    'A: b',
    'A : b',
    'A:\u0000',
    '\u00e9',
    ';',
    ',',
  ],
  ...[
    'Content-Length: 5',
    'Content-Length: 5, 5',
    'Transfer-Encoding: chunked',
    'Transfer-Encoding: gzip, chunked',
  ],
);
const soup = fc
  .array(fc.oneof({ weight: 5, arbitrary: piece }, { weight: 1, arbitrary: fc.string({ maxLength: 6 }) }), {
    maxLength: 24,
  })
  .map((parts) => Buffer.from(parts.join(''), 'latin1'));

const token = fc.stringMatching(/^[A-Za-z][A-Za-z0-9-]{0,12}$/);
const value = fc.stringMatching(/^[\x21-\x7e]([\x20-\x7e]{0,20}[\x21-\x7e])?$/);
const goodHead = fc
  .record({
    method: fc.constantFrom('GET', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH'),
    path: fc.stringMatching(/^\/[A-Za-z0-9/?=&._~-]{0,30}$/),
    headers: fc.array(
      fc.tuple(
        token.map((name) => `X-${name}`),
        value,
      ),
      { maxLength: 10 },
    ),
  })
  .map(({ method, path, headers }) => ({
    method,
    path,
    headers,
    bytes: Buffer.from(
      `${method} ${path} HTTP/1.1\r\nHost: x.test\r\n${headers.map(([k, v]) => `${k}: ${v}\r\n`).join('')}\r\n`,
      'latin1',
    ),
  }));

describe('heads', () => {
  test('never throw, and a refusal or a result does not change with more bytes', () => {
    fc.assert(
      fc.property(soup, fc.nat(), (bytes, cut) => {
        for (const read of [readRequestHead, readResponseHead]) {
          const whole = read(bytes, CAPS);
          const part = read(bytes.subarray(0, cut % (bytes.length + 1)), CAPS);
          if (part.state === 'bad') expect(whole.state).toBe('bad');
          if (part.state === 'done') expect(whole).toEqual(part);
        }
      }),
      RUNS,
    );
  });

  test('a head that is read has only clean parts', () => {
    fc.assert(
      fc.property(soup, (bytes) => {
        const read = readRequestHead(bytes, CAPS);
        if (read.state !== 'done') return;
        const { method, target, headers } = read.head;
        expect(method).toMatch(/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/);
        expect(target).toMatch(/^[\x21-\x7e]+$/);
        for (let i = 0; i < headers.length; i += 2) {
          expect(headers[i]).toMatch(/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/);
          expect(headers[i + 1]).toMatch(
            /^(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?$/,
          );
        }
        judgeHead(method, read.head.http, headers);
      }),
      RUNS,
    );
  });
});

describe('chunked bodies', () => {
  const chunks = fc.array(fc.uint8Array({ minLength: 1, maxLength: 40 }), { maxLength: 8 });

  test('any split of the bytes gives the same body', () => {
    fc.assert(
      fc.property(chunks, fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1 }), (parts, sizes) => {
        const wire = Buffer.concat([
          ...parts.map((part) =>
            Buffer.concat([Buffer.from(`${part.length.toString(16)}\r\n`), part, Buffer.from('\r\n')]),
          ),
          Buffer.from('0\r\n\r\n'),
        ]);
        const decoder = new ChunkedDecoder();
        const got: Buffer[] = [];
        for (let at = 0, i = 0; at < wire.length; i++) {
          const size = sizes[i % sizes.length] ?? 1;
          got.push(Buffer.from(decoder.push(Buffer.from(wire.subarray(at, at + size)))));
          at += size;
        }
        expect(decoder.state).toBe('done');
        expect(Buffer.concat(got)).toEqual(Buffer.concat(parts));
      }),
      { ...RUNS, numRuns: 500 },
    );
  });

  test('any bytes: no throw, and the split does not matter', () => {
    const digit = fc.constantFrom(
      ...'0123456789abcdefABCDEF\r\n;=x :'.split(''),
      '\r\n',
      '0\r\n\r\n',
      '3\r\nabc\r\n',
    );
    fc.assert(
      fc.property(fc.array(digit, { maxLength: 30 }), fc.integer({ min: 1, max: 9 }), (parts, size) => {
        const wire = Buffer.from(parts.join(''), 'latin1');
        const run = (step: number): string => {
          const decoder = new ChunkedDecoder();
          let data = '';
          for (let at = 0; at < wire.length && decoder.state === 'more'; at += step)
            data += decoder.push(Buffer.from(wire.subarray(at, at + step))).toString('latin1');
          // Where a body is refused, how much of it came before depends on the split.
          return decoder.state === 'bad' ? 'bad' : `${decoder.state} ${data}`;
        };
        expect(run(size)).toBe(run(1000));
      }),
      RUNS,
    );
  });
});

describe('beside llhttp', () => {
  const server = createServer({ insecureHTTPParser: false, requireHostHeader: false });
  let port = 0;
  let seen: { method: string; url: string; headers: string[] } | undefined;

  beforeAll(async () => {
    server.on('request', (request, response) => {
      seen = { method: request.method ?? '', url: request.url ?? '', headers: request.rawHeaders };
      response.end('ok');
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    port = portOf(server);
  });

  afterAll(() => server.close());

  /** What Node's parser makes of the bytes: a request, or nothing. */
  async function ask(bytes: Buffer): Promise<typeof seen> {
    seen = undefined;
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => undefined).resume();
    socket.end(bytes);
    await once(socket, 'close');
    return seen;
  }

  test('a good head is read alike', async () => {
    await fc.assert(
      fc.asyncProperty(goodHead, async ({ bytes }) => {
        const ours = readRequestHead(bytes, CAPS);
        const theirs = await ask(bytes);
        expect(ours.state).toBe('done');
        if (ours.state !== 'done') return;
        const { method, target, headers } = ours.head;
        expect({ method, url: target, headers }).toEqual(theirs);
      }),
      { ...RUNS, numRuns: 150 },
    );
  });

  test('what llhttp refuses is refused, and what both accept is the same', async () => {
    const almost = fc
      .tuple(
        goodHead,
        fc.nat(),
        fc.constantFrom('\n', '\r', '\u0000', ' ', '\t', '\u007f', ':', '\u00e9', '\r\n '),
      )
      .map(([{ bytes }, at, bad]) => {
        const cut = at % bytes.length;
        return Buffer.concat([bytes.subarray(0, cut), Buffer.from(bad, 'latin1'), bytes.subarray(cut)]);
      });
    await fc.assert(
      fc.asyncProperty(almost, async (bytes) => {
        const ours = readRequestHead(bytes, CAPS);
        if (ours.state !== 'done' || ours.used !== bytes.length) return;
        const { method, target, headers } = ours.head;
        if (!judgeHead(method, ours.head.http, headers).ok) return;
        expect(await ask(bytes)).toEqual({ method, url: target, headers });
      }),
      { ...RUNS, numRuns: 300 },
    );
  });
});

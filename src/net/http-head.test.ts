import { describe, expect, test } from 'vitest';
import { readConnectHead } from './connect-head.ts';
import {
  judgeHead,
  readAbsoluteTarget,
  readOriginTarget,
  requestHeaders,
  responseHeaders,
} from './http-head.ts';
import type { HeadFacts } from './http-head.ts';
import { dataInName } from './label-entropy.ts';

const HOST = ['Host', 'api.test'];

function facts(headers: readonly string[]): HeadFacts {
  const result = judgeHead('POST', '1.1', headers);
  if (!result.ok) throw new Error(result.why);
  return result;
}

describe('judgeHead', () => {
  test.each([
    ['no Host', 'GET', '1.1', [], 400],
    ['two Hosts', 'GET', '1.1', [...HOST, 'host', 'evil.test'], 400],
    ['TRACE', 'TRACE', '1.1', HOST, 405],
    ['CONNECT', 'CONNECT', '1.1', HOST, 405],
    ['gzip, chunked', 'POST', '1.1', [...HOST, 'Transfer-Encoding', 'gzip, chunked'], 400],
    ['empty Transfer-Encoding', 'POST', '1.1', [...HOST, 'Transfer-Encoding', ''], 400],
    [
      'two Transfer-Encodings',
      'POST',
      '1.1',
      [...HOST, 'Transfer-Encoding', 'chunked', 'transfer-encoding', 'chunked'],
      400,
    ],
    ['both lengths', 'POST', '1.1', [...HOST, 'Transfer-Encoding', 'chunked', 'Content-Length', '5'], 400],
    ['two equal lengths', 'POST', '1.1', [...HOST, 'Content-Length', '5', 'Content-Length', '5'], 400],
    ['a length of 2^64', 'POST', '1.1', [...HOST, 'Content-Length', '18446744073709551621'], 400],
    ['chunked in 1.0', 'POST', '1.0', [...HOST, 'Transfer-Encoding', 'chunked'], 400],
    ['257 lines', 'GET', '1.1', [...HOST, ...Array.from({ length: 512 }, () => 'x')], 431],
    ['a malformed Host', 'GET', '1.1', ['Host', 'a@b'], 400],
  ])('%s', (...[, method, version, headers, status]) => {
    expect(judgeHead(method, version, headers)).toMatchObject({ ok: false, status });
  });

  test('bodies', () => {
    expect(facts([...HOST, 'Content-Length', '5']).body).toEqual({ kind: 'length', bytes: 5 });
    expect(facts([...HOST, 'transfer-encoding', 'chunKED']).body).toEqual({ kind: 'chunked' });
    expect(facts(['Host', 'API.test.:8080'])).toMatchObject({
      host: { host: 'api.test' },
      hostPort: 8080,
      body: { kind: 'none' },
    });
  });
});

test('request headers are rebuilt', () => {
  const headers = [
    'Host',
    'API.TEST',
    'Connection',
    'X-Drop, close',
    'X-Drop',
    '1',
    'X-Keep',
    '2',
    'Transfer_Encoding',
    'chunked',
    'TE',
    'trailers',
    'Proxy-Authorization',
    'Basic x',
    'Upgrade',
    'h2c',
    'Expect',
    '100-continue',
    'Content-Length',
    '5',
    'Content_Length',
    '9',
  ];
  expect(requestHeaders(headers, facts(headers), 'api.test', 8080)).toEqual([
    'Host',
    'api.test:8080',
    'X-Keep',
    '2',
    'Content-Length',
    '5',
  ]);
});

test('response headers lose what is not the origin’s to say', () => {
  const headers = [
    'Alt-Svc',
    'h3',
    'X-Glovebox-Denied',
    'rule',
    'Content-Length',
    '5',
    'Set-Cookie',
    'a',
    'Set-Cookie',
    'b',
    'Keep-Alive',
    'x',
  ];
  expect(responseHeaders(headers, 200)).toEqual([
    'Content-Length',
    '5',
    'Set-Cookie',
    'a',
    'Set-Cookie',
    'b',
  ]);
  expect(responseHeaders(headers, 204)).not.toContain('Content-Length');
});

describe('targets', () => {
  test.each([
    ['http://api.test', 'api.test', 80, '/'],
    ['HTTP://API.test:8080/a?b', 'api.test', 8080, '/a?b'],
    ['http://api.test?b', 'api.test', 80, '/?b'],
  ])('%s', (target, host, port, path) => {
    expect(readAbsoluteTarget(target)).toMatchObject({ ok: true, host: { host }, port, path });
  });

  test.each([
    'ftp://a.test/',
    'file:///etc/passwd',
    'http:a.test/',
    'http:///a',
    'http://a@b.test/',
    'http://a.test%2f@b/',
    'http://a.test/#x',
    'http://a.test/\u00e9',
    'https://a.test/',
    '/a',
    '*',
    'http://a.test\\@b.test/',
    'http://a.test/a b',
    'http://a.test:0/',
  ])('%j is refused', (target) => {
    expect(readAbsoluteTarget(target).ok).toBe(false);
  });

  test('origin-form', () => {
    expect(readOriginTarget('GET', '/a?b').ok).toBe(true);
    expect(readOriginTarget('OPTIONS', '*').ok).toBe(true);
    expect(readOriginTarget('GET', '*').ok).toBe(false);
    expect(readOriginTarget('GET', 'http://a.test/').ok).toBe(false);
    expect(readOriginTarget('GET', '/a#b').ok).toBe(false);
  });
});

describe('readConnectHead', () => {
  const read = (head: string) => readConnectHead(Buffer.from(head, 'latin1'));

  test('head and first bytes are told apart', () => {
    const head = 'CONNECT api.test:443 HTTP/1.1\r\nHost: api.test:443\r\nUser-Agent: x\r\n\r\n';
    expect(read(`${head}rest`)).toMatchObject({
      state: 'connect',
      used: head.length,
      host: { host: 'api.test' },
      port: 443,
    });
    expect(read('CONNECT api.test:443 HTTP/1.1\r\nHost: api.test').state).toBe('more');
  });

  test.each([
    'CONNECT api.test HTTP/1.1\r\n\r\n',
    'CONNECT  api.test:443 HTTP/1.1\r\n\r\n',
    'CONNECT api.test:443 HTTP/2.0\r\n\r\n',
    'CONNECT api.test:443 HTTP/1.1\r\nContent-Length: 0\r\n\r\n',
    'CONNECT api.test:443 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n',
    'CONNECT api.test:443 HTTP/1.1\r\nHost: evil.test:443\r\n\r\n',
    'CONNECT api.test:443 HTTP/1.1\r\nHost: api.test\r\nHost: api.test\r\n\r\n',
    'CONNECT api.test:443 HTTP/1.1\r\nX: 1\r\n folded\r\n\r\n',
    'CONNECT api.test:443 HTTP/1.1\r\nX: a\nb\r\n\r\n',
    'CONNECT api.test:443 HTTP/1.1\r\nX: a\u0000b\r\n\r\n',
    'CONNECT api.test:443 HTTP/1.1\r\nX : a\r\n\r\n',
    'CONNECT api.test:443 HTTP/1.1\nHost: api.test\r\n\r\n',
    `CONNECT api.test:443 HTTP/1.1\r\n${'X: 1\r\n'.repeat(65)}\r\n`,
    `CONNECT api.test:443 HTTP/1.1\r\nX: ${'a'.repeat(17_000)}`,
  ])('%j is refused', (head) => {
    expect(read(head).state).toBe('bad');
  });
});

test.each([
  ['mzxw6ytboi2gk3tfonvwk3dmn5zgkz3bonsxg5d', true],
  ['abcdefghijklmnopqrstuvwxyz234567.lambda-url', false],
  ['123e4567-e89b-12d3-a456-426614174000', false],
  ['raw.githubusercontent', false],
  ['da39a3ee5e6b4b0d3255bfef95601890afd80709', true],
  [`${'a'.repeat(60)}.${'b'.repeat(60)}`, true],
])('data in the name %s: %s', (prefix, expected) => {
  expect(dataInName(prefix) !== undefined).toBe(expected);
});

import { describe, expect, test } from 'vitest';
import { readRequestHead, readResponseHead, readTrailers } from './http1-head.ts';

const CAPS = { bytes: 1024, lines: 8 };
const request = (text: string) => readRequestHead(Buffer.from(text, 'latin1'), CAPS);
const response = (text: string) => readResponseHead(Buffer.from(text, 'latin1'), CAPS);

describe('request heads', () => {
  test('parts as they came, and what follows is left', () => {
    const text = 'GET /a?b=c HTTP/1.1\r\nHost: x.test\r\nX-A:  b\u00e9 c \t\r\nEmpty:\r\n\r\n';
    expect(request(`${text}rest`)).toEqual({
      state: 'done',
      used: text.length,
      head: {
        http: '1.1',
        method: 'GET',
        target: '/a?b=c',
        headers: ['Host', 'x.test', 'X-A', 'b\u00e9 c', 'Empty', ''],
      },
    });
    expect(request('GET / HTTP/1.0\r\n\r\n')).toMatchObject({ state: 'done', head: { http: '1.0' } });
  });

  test('every beginning of a good head wants more', () => {
    const text = 'POST /x HTTP/1.1\r\nHost: x.test\r\nA: b\r\n\r\n';
    for (let i = 0; i < text.length; i++) expect(request(text.slice(0, i)).state).toBe('more');
    expect(request(text).state).toBe('done');
  });

  test.each([
    ['bare LF after the request line', 'GET / HTTP/1.1\nHost: x\r\n\r\n'],
    ['bare LF after a header', 'GET / HTTP/1.1\r\nHost: x\n\r\n'],
    ['bare CR', 'GET / HTTP/1.1\r\nA: b\rc\r\n\r\n'],
    ['an empty line in front', '\r\nGET / HTTP/1.1\r\n\r\n'],
    ['two spaces', 'GET  / HTTP/1.1\r\n\r\n'],
    ['two spaces before the version', 'GET /  HTTP/1.1\r\n\r\n'],
    ['a tab', 'GET\t/ HTTP/1.1\r\n\r\n'],
    ['no target', 'GET HTTP/1.1\r\n\r\n'],
    ['HTTP/0.9', 'GET /\r\n'],
    ['HTTP/1.2', 'GET / HTTP/1.2\r\n\r\n'],
    ['HTTP/2.0', 'GET / HTTP/2.0\r\n\r\n'],
    ['lower-case version', 'GET / http/1.1\r\n\r\n'],
    ['a space after the version', 'GET / HTTP/1.1 \r\n\r\n'],
    ['a control byte in the target', 'GET /\u0001 HTTP/1.1\r\n\r\n'],
    ['a byte over 126 in the target', 'GET /\u00e9 HTTP/1.1\r\n\r\n'],
    ['a method that is no token', 'G(T / HTTP/1.1\r\n\r\n'],
    ['a method that is too long', `${'A'.repeat(33)} / HTTP/1.1\r\n\r\n`],
    ['space before the colon', 'GET / HTTP/1.1\r\nHost : x\r\n\r\n'],
    ['a folded line', 'GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n'],
    ['a first line that begins with a space', 'GET / HTTP/1.1\r\n A: b\r\n\r\n'],
    ['no colon', 'GET / HTTP/1.1\r\nHost\r\n\r\n'],
    ['an empty name', 'GET / HTTP/1.1\r\n: x\r\n\r\n'],
    ['NUL in a value', 'GET / HTTP/1.1\r\nA: b\u0000\r\n\r\n'],
    ['DEL in a value', 'GET / HTTP/1.1\r\nA: b\u007f\r\n\r\n'],
    ['a name with a byte over 127', 'GET / HTTP/1.1\r\nH\u00f6st: x\r\n\r\n'],
    ['TLS', '\u0016\u0003\u0001'],
    ['the HTTP/2 preface', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
  ])('%s', (_what, text) => {
    expect(request(text)).toMatchObject({ state: 'bad', status: 400 });
  });

  test('what is wrong is refused before the head is complete', () => {
    expect(request('GET / HTTP/1.1\nHo').state).toBe('bad');
    expect(request('GET / HTTP/1.1\r\nHost : ').state).toBe('bad');
  });

  test('caps', () => {
    const lines = (count: number): string => `GET / HTTP/1.1\r\n${'A: b\r\n'.repeat(count)}\r\n`;
    expect(request(lines(8)).state).toBe('done');
    expect(request(lines(9))).toMatchObject({ state: 'bad', status: 431 });
    expect(request(`GET / HTTP/1.1\r\nA: ${'b'.repeat(1100)}`)).toMatchObject({ state: 'bad', status: 431 });
    expect(request(`GET / HTTP/1.1\r\nA: ${'b'.repeat(1100)}\r\n\r\n`)).toMatchObject({
      state: 'bad',
      status: 431,
    });
    expect(request(`GET /${'b'.repeat(1100)}`)).toMatchObject({ state: 'bad', status: 431 });
  });
});

describe('response heads', () => {
  test.each([
    ['HTTP/1.1 200 OK\r\nA: b\r\n\r\n', 200],
    ['HTTP/1.1 404 Not \u00e9 Found\r\n\r\n', 404],
    ['HTTP/1.0 200 \r\n\r\n', 200],
    ['HTTP/1.1 204\r\n\r\n', 204],
    ['HTTP/1.1 999 X\r\n\r\n', 999],
  ])('%j', (text, status) => {
    expect(response(text)).toMatchObject({ state: 'done', used: text.length, head: { status } });
    for (let i = 0; i < text.length; i++) expect(response(text.slice(0, i)).state).toBe('more');
  });

  test.each([
    'HTTP/1.1  200 OK\r\n\r\n',
    'HTTP/1.1 20 OK\r\n\r\n',
    'HTTP/1.1 2000 OK\r\n\r\n',
    'HTTP/1.1 099 OK\r\n\r\n',
    'HTTP/1.1 +20 OK\r\n\r\n',
    'HTTP/1.1 200 OK\n\r\n',
    'HTTP/2 200\r\n\r\n',
    'ICY 200 OK\r\n\r\n',
    'HTTP/1.1 200 OK\r\nA : b\r\n\r\n',
    'HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n',
    'HTTP/1.1 200 a\u0000\r\n\r\n',
  ])('%j is refused', (text) => {
    expect(response(text).state).toBe('bad');
  });
});

test('trailers', () => {
  expect(readTrailers(Buffer.from('\r\nrest'), CAPS)).toEqual({ state: 'done', head: [], used: 2 });
  expect(readTrailers(Buffer.from('A: b\r\n\r\n'), CAPS)).toEqual({
    state: 'done',
    head: ['A', 'b'],
    used: 8,
  });
  expect(readTrailers(Buffer.from('A: b\r\n'), CAPS).state).toBe('more');
  expect(readTrailers(Buffer.from('A b\r\n\r\n'), CAPS).state).toBe('bad');
});

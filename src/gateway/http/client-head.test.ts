import { describe, expect, test } from 'vitest';
import { HeadReader } from './client-head.ts';
import type { ClientHead } from './client-head.ts';

const CAPS = { bytes: 64 * 1024, lines: 256 };
const HEAD = 'GET /a HTTP/1.1\r\nHost: a.test\r\nX-Id: 1\r\n\r\n';

function headOf(reader: HeadReader, text: string): ClientHead {
  const read = reader.read(Buffer.from(text, 'latin1'));
  if (read.state !== 'done') throw new Error(`${read.state}: ${text}`);
  return read.head;
}

describe('a head that comes again', () => {
  test('is the same object, also with more behind it', () => {
    const reader = new HeadReader(CAPS);
    const first = headOf(reader, HEAD);
    expect(headOf(reader, HEAD)).toBe(first);
    expect(headOf(reader, HEAD + HEAD)).toBe(first);
    expect(reader.read(Buffer.from(`${HEAD}rest`))).toMatchObject({ state: 'done', used: HEAD.length });
  });

  test('is read anew when any byte of it differs', () => {
    for (let at = 0; at < HEAD.length; at++) {
      const reader = new HeadReader(CAPS);
      const first = headOf(reader, HEAD);
      const other = `${HEAD.slice(0, at)}${HEAD[at] === 'Z' ? 'Y' : 'Z'}${HEAD.slice(at + 1)}`;
      expect(reader.read(Buffer.from(other, 'latin1'))).not.toMatchObject({ head: first });
    }
  });

  test('is not taken for one that only begins like it', () => {
    const reader = new HeadReader(CAPS);
    headOf(reader, HEAD);
    const longer = HEAD.replace('\r\n\r\n', '\r\nX-More: 1\r\n\r\n');
    expect(headOf(reader, longer).request.headers).toContain('X-More');
    expect(reader.read(Buffer.from(HEAD.slice(0, -1))).state).toBe('more');
    expect(headOf(reader, HEAD).request.headers).not.toContain('X-More');
  });

  test('does not change with the buffer that it was read from', () => {
    const reader = new HeadReader(CAPS);
    const bytes = Buffer.from(HEAD, 'latin1');
    reader.read(bytes);
    bytes.write('/b', HEAD.indexOf('/a'));
    const read = reader.read(bytes);
    expect(read).toMatchObject({ state: 'done', head: { request: { target: '/b' } } });
  });

  test('is read each time when it is long', () => {
    const reader = new HeadReader(CAPS);
    const long = HEAD.replace('1\r\n\r\n', `${'1'.repeat(5000)}\r\n\r\n`);
    expect(headOf(reader, long)).not.toBe(headOf(reader, long));
    expect(headOf(reader, long)).toEqual(headOf(reader, long));
  });
});

test('a head says how its body comes, what is expected and whether another may follow', () => {
  const reader = new HeadReader(CAPS);
  const lines = 'Host: a.test\r\nContent-Length: 3\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n';
  expect(headOf(reader, `POST / HTTP/1.1\r\n${lines}`)).toMatchObject({
    request: { method: 'POST', body: { kind: 'length', bytes: 3 } },
    expectation: 'continue',
    keep: false,
  });
});

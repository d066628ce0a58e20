import { describe, expect, test } from 'vitest';
import { ChunkedDecoder } from './http1-body.ts';

/** Decodes in pieces of a size; what is over is what came after the body. */
function decode(
  text: string,
  size: number,
): { state: string; data: string; over: string; trailers: readonly string[] } {
  const decoder = new ChunkedDecoder();
  let data = '';
  let over = '';
  for (let at = 0; at < text.length; at += size) {
    const piece = Buffer.from(text.slice(at, at + size), 'latin1');
    if (decoder.state === 'done') over += piece.toString('latin1');
    if (decoder.state !== 'more') continue;
    // The input is the decoder's from here on: what is over is cut off from a copy.
    const copy = Buffer.from(piece);
    data += decoder.push(piece).toString('latin1');
    // `push` changes what the check above has seen.
    const now: string = decoder.state;
    if (now === 'done') over += copy.subarray(decoder.used).toString('latin1');
  }
  return { state: decoder.state, data, over, trailers: decoder.trailers };
}

const SIZES = [1, 2, 3, 5, 7, 1000];

describe.each(SIZES)('in pieces of %i', (size) => {
  test.each([
    ['5\r\nhello\r\n0\r\n\r\n', 'hello', ''],
    ['5\r\nhello\r\n6\r\n world\r\n0\r\n\r\nGET /', 'hello world', 'GET /'],
    ['A\r\n0123456789\r\n000\r\n\r\n', '0123456789', ''],
    ['1;a=b;c="d"\r\nx\r\n0;e\r\n\r\n', 'x', ''],
    ['0\r\n\r\nrest', '', 'rest'],
    ['1\r\nx\r\n0\r\nA: b\r\nC: d\r\n\r\nnext', 'x', 'next'],
    ['4\r\n\r\n\r\n\r\n0\r\n\r\n', '\r\n\r\n', ''],
  ])('%j', (text, data, over) => {
    expect(decode(text, size)).toMatchObject({ state: 'done', data, over });
  });

  test.each([
    '\r\n',
    'x\r\n',
    ' 5\r\nhello\r\n0\r\n\r\n',
    '5 \r\nhello\r\n0\r\n\r\n',
    '+5\r\nhello\r\n',
    '-5\r\nhello\r\n',
    '0x5\r\nhello\r\n',
    '5\nhello\r\n0\r\n\r\n',
    '5\rhello\r\n',
    '5\r\nhello\n0\r\n\r\n',
    '5\r\nhelloo\r\n0\r\n\r\n',
    '5\r\nhello0\r\n\r\n',
    '1;a\nb\r\nx\r\n0\r\n\r\n',
    '1;a\u0000\r\nx\r\n',
    `1;${'a'.repeat(300)}\r\nx\r\n`,
    '0000000000000001\r\nx\r\n',
    'fffffffffffffff\r\nx',
    '0\r\nA : b\r\n\r\n',
    '0\r\nA: b\n\r\n',
    `0\r\n${'A: b\r\n'.repeat(40)}\r\n`,
    `0\r\nA: ${'b'.repeat(9000)}\r\n\r\n`,
    '0\r\n X\r\n\r\n',
  ])('%j is refused', (text) => {
    expect(decode(text, size).state).toBe('bad');
  });

  test('a body that is not whole is not', () => {
    const whole = '5\r\nhello\r\n0\r\nA: b\r\n\r\n';
    for (let i = 0; i < whole.length; i++) expect(decode(whole.slice(0, i), size).state).toBe('more');
  });
});

test('extensions are bounded over the whole body', () => {
  const chunk = `1;${'a'.repeat(200)}\r\nx\r\n`;
  expect(decode(chunk.repeat(100), 1000).state).toBe('bad');
});

test('the data of one input is one part of it', () => {
  const input = Buffer.from('2\r\nab\r\n2\r\ncd\r\n3\r\nefg\r\n0\r\n\r\n');
  const part = new ChunkedDecoder().push(input);
  expect(part.toString()).toBe('abcdefg');
  expect(part.buffer).toBe(input.buffer);
});

import { Socket } from 'node:net';
import { expect, test } from 'vitest';
import { MessageWriter } from './writer.ts';

const MARK = 64 * 1024;

/** A socket whose kernel buffer is full: what is written stays, and only beyond the mark will a "drain" come. */
function fullSocket(): Socket {
  const socket = new Socket();
  let length = 0;
  Object.defineProperties(socket, {
    writableLength: { get: () => length },
    writableNeedDrain: { get: () => length >= MARK },
  });
  socket.write = (chunk: Uint8Array | string): boolean => {
    length += chunk.length;
    return length < MARK;
  };
  return socket;
}

test('a source is stopped only where a "drain" will let it go on', () => {
  const owner = { written: () => undefined, broken: () => undefined };
  const start = { head: 'HTTP/1.1 200 OK\r\n\r\n', framing: 'length', length: 1 << 20 } as const;
  const writer = new MessageWriter(fullSocket(), owner, start);
  expect(writer.write(Buffer.alloc(20_000))).toBe(true);
  expect(writer.write(Buffer.alloc(20_000))).toBe(true);
  expect(writer.write(Buffer.alloc(30_000))).toBe(false);
});

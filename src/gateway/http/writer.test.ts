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

/** A socket as TLS has it: nothing is done at once, and each write is noted. */
function tlsSocket(): { readonly socket: Socket; readonly written: number[] } {
  const written: number[] = [];
  const socket = new Socket();
  let length = 0;
  Object.defineProperties(socket, {
    encrypted: { value: true },
    writableLength: { get: () => length },
    writableNeedDrain: { get: () => length >= 16 * 1024 },
  });
  socket.write = (chunk: Uint8Array | string): boolean => {
    written.push(chunk.length);
    length += chunk.length;
    return false;
  };
  return { socket, written };
}

const nextTick = (): Promise<void> => new Promise((resolve) => process.nextTick(resolve));

const OWNER = { written: () => undefined, broken: () => undefined };
const CLOSE = { head: '', framing: 'close', length: 0 } as const;
const RECORD = 16 * 1024;

test('into TLS, records of one look at the sockets leave together, and small pieces do not wait for that', async () => {
  const { socket, written } = tlsSocket();
  const writer = new MessageWriter(socket, OWNER, CLOSE);
  for (let i = 0; i < 3; i++) {
    writer.write(Buffer.alloc(RECORD));
    await nextTick();
  }
  expect(written).toEqual([]);
  await new Promise(setImmediate);
  expect(written.reduce((sum, size) => sum + size, 0)).toBe(3 * RECORD);
  writer.write(Buffer.alloc(100));
  await nextTick();
  expect(written.at(-1)).toBe(100);
});

test('into TLS, a source goes on until much is unsent', () => {
  const { socket } = tlsSocket();
  const writer = new MessageWriter(socket, OWNER, CLOSE);
  let taken = 0;
  while (taken < 64 && writer.write(Buffer.alloc(RECORD))) taken++;
  expect(taken).toBeGreaterThan(4);
  expect(taken).toBeLessThan(20);
});

import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { Socket } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { netDialler } from '../../src/gateway/dial.ts';
import { HONEST, policy, portOf, rule, sleep, startBench } from './kit.ts';

const closers: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const BODY = randomBytes(1_000_000);
const TIMES = 12;
const hashOf = (pieces: readonly Buffer[]): string => {
  const hash = createHash('sha256');
  for (const piece of pieces) hash.update(piece);
  return hash.digest('hex');
};
const WANTED = hashOf(Array.from({ length: TIMES }, () => BODY));

/** Writes the body in pieces of uneven sizes, with rests, so that every size of read occurs. */
async function pour(socket: Socket, chunked: boolean): Promise<void> {
  let size = 1;
  for (let i = 0; i < TIMES; i++) {
    for (let at = 0; at < BODY.length; at += size) {
      size = ((size * 7 + 13) % 300_000) + 1;
      const part = BODY.subarray(at, at + size);
      if (chunked) socket.write(`${part.length.toString(16)}\r\n`);
      if (!socket.write(part)) await Promise.race([once(socket, 'drain'), once(socket, 'close')]);
      if (chunked) socket.write('\r\n');
    }
    await sleep(3);
  }
  if (chunked) socket.write('0\r\n\r\n');
}

/** Reads up to `bytes` of body, resting now and then, so that the writer's buffers fill. */
async function drink(socket: Socket, head: RegExp, bytes: number, slow: boolean): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let got = 0;
  let skip = -1;
  for await (const chunk of socket) {
    const piece: Buffer = chunk;
    pieces.push(piece);
    got += piece.length;
    if (skip < 0) skip = head.exec(pieces[0]?.toString('latin1') ?? '')?.[0].length ?? 0;
    if (got - skip >= bytes) break;
    if (slow && pieces.length % 20 === 0) await sleep(5);
  }
  return Buffer.concat(pieces).subarray(skip);
}

async function start(answer: (socket: Socket) => void): Promise<number> {
  const server = createServer((socket) => {
    socket.on('error', () => undefined).once('data', () => answer(socket));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const origin = portOf(server);
  closers.push(() => server.close());
  const bench = await startBench({
    policy: policy([rule('db.test', 5432), rule('plain.test', 80)]),
    origin,
    answers: { 'db.test': [HONEST], 'plain.test': [HONEST] },
    // The real one: its sockets read into one buffer again and again.
    dialler: { dial: (_address, _port, signal) => netDialler.dial('127.0.0.1', origin, signal) },
  });
  closers.push(() => bench.gateway.close());
  return bench.proxy;
}

async function client(port: number): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  closers.push(() => socket.destroy());
  return socket;
}

describe.each([false, true])('bytes arrive as they were sent (slow reader: %s)', (slow) => {
  test('through a tunnel', async () => {
    const proxy = await start((socket) => void pour(socket, false));
    const socket = await client(proxy);
    socket.write('CONNECT db.test:5432 HTTP/1.1\r\nHost: db.test:5432\r\n\r\n');
    await once(socket, 'readable');
    socket.write('go');
    const body = await drink(socket, /^[\s\S]*?\r\n\r\n/, BODY.length * TIMES, slow);
    expect(hashOf([body])).toBe(WANTED);
  });

  test('as a body with a length', async () => {
    const proxy = await start((socket) => {
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${BODY.length * TIMES}\r\n\r\n`);
      void pour(socket, false);
    });
    const socket = await client(proxy);
    socket.write('GET http://plain.test/ HTTP/1.1\r\nHost: plain.test\r\n\r\n');
    const body = await drink(socket, /^[\s\S]*?\r\n\r\n/, BODY.length * TIMES, slow);
    expect(hashOf([body])).toBe(WANTED);
  });

  test('as a chunked body that ends with its connection', async () => {
    const proxy = await start((socket) => {
      socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n');
      void pour(socket, true);
    });
    const socket = await client(proxy);
    socket.write('GET http://plain.test/ HTTP/1.0\r\nHost: plain.test\r\n\r\n');
    const body = await drink(socket, /^[\s\S]*?\r\n\r\n/, BODY.length * TIMES, slow);
    expect(hashOf([body])).toBe(WANTED);
  });
});

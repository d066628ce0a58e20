import { createHash } from 'node:crypto';
import { createServer as createTlsServer, type ServerOptions } from 'node:https';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createSecureServer } from 'node:http2';
import type { Server } from 'node:net';
import type { Duplex } from 'node:stream';
import { createSecureContext } from 'node:tls';
import { answering } from '../lib/helper.ts';
import type { OriginWorld } from '../lib/certificates.ts';

// A TLS origin: HTTP/1.1 with WebSocket on one port, HTTP/2 on another. /ok answers two bytes, /bytes/N answers N, a POST is read
// and answered, a WebSocket echoes. Told its certificates by the first message, it answers with its ports.

/** RFC 6455 §1.3. */
const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
const LINE = 'event: delta\ndata: {"index":0,"text":"a few ordinary words, and more of them"}\n\n';
const CHUNK = Buffer.from(LINE.repeat(1 + 65_536 / LINE.length)).subarray(0, 65_536);

function answer(request: IncomingMessage, response: ServerResponse): void {
  const size = /\/bytes\/(\d+)$/.exec(request.url ?? '')?.[1];
  if (size !== undefined) return send(response, Number(size));
  const reply = (): void => {
    response.setHeader('content-length', 2);
    response.end('ok');
  };
  if (request.method !== 'POST') return reply();
  request.resume().once('end', reply);
}

function send(response: ServerResponse, bytes: number): void {
  response.setHeader('content-length', bytes);
  let left = bytes;
  const more = (): void => {
    while (left > 0) {
      const part = left < CHUNK.length ? CHUNK.subarray(0, left) : CHUNK;
      left -= part.length;
      if (!response.write(part)) return;
    }
    response.end();
  };
  response.on('drain', more);
  more();
}

/** Sends every masked text frame back, unmasked. Frames are shorter than 126 bytes, as the client's are. */
function echo(request: IncomingMessage, socket: Duplex): void {
  const key = request.headers['sec-websocket-key'] ?? '';
  const accept = createHash('sha1')
    .update(key + GUID)
    .digest('base64');
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
  );
  let rest: Buffer = Buffer.alloc(0);
  socket.on('error', () => undefined);
  socket.on('data', (chunk: Buffer) => {
    let bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    const out: Buffer[] = [];
    for (let size = frameSize(bytes); size > 0 && bytes.length >= size; size = frameSize(bytes)) {
      out.push(unmasked(bytes.subarray(0, size)));
      bytes = bytes.subarray(size);
    }
    rest = bytes;
    if (out.length > 0) socket.write(out.length === 1 ? (out[0] ?? rest) : Buffer.concat(out));
  });
}

const frameSize = (bytes: Buffer): number => (bytes.length < 2 ? 0 : 6 + ((bytes[1] ?? 0) & 0x7f));

function unmasked(frame: Buffer): Buffer {
  const out = Buffer.allocUnsafe(frame.length - 4);
  out[0] = frame[0] ?? 0;
  out[1] = frame.length - 6;
  for (let i = 6; i < frame.length; i++) out[i - 4] = (frame[i] ?? 0) ^ (frame[2 + ((i - 6) & 3)] ?? 0);
  return out;
}

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  return address === null || typeof address === 'string' ? 0 : address.port;
}

function isWorld(value: object): value is OriginWorld {
  return 'ca' in value && 'key' in value && 'certificates' in value;
}

answering(async (world) => {
  if (!isWorld(world)) throw new Error('no certificates');
  const { key, certificates } = world;
  const [cert = ''] = Object.values(certificates);
  const options: ServerOptions = { key, cert, noDelay: true };
  const h1 = createTlsServer({ ...options, keepAliveTimeout: 60_000 }, answer);
  h1.on('upgrade', echo);
  const h2 = createSecureServer({ key, cert, settings: { initialWindowSize: 1 << 20 } });
  h2.on('stream', (stream) => {
    stream.on('error', () => undefined);
    stream.resume();
    stream.respond({ ':status': 200 });
    stream.end('ok');
  });
  for (const server of [h1, h2])
    for (const [name, one] of Object.entries(certificates))
      server.addContext(name, createSecureContext({ key, cert: one }));
  return { h1: await listen(h1), h2: await listen(h2) };
});

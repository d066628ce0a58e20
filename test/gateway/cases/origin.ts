import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer as createH2Server } from 'node:http2';
import type { ServerHttp2Stream } from 'node:http2';
import { createServer } from 'node:net';
import type { Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import type { Server as TlsServer } from 'node:tls';
import type { Duplex } from 'node:stream';
import { portOf, sleep } from '../kit.ts';
import { header, readRequest } from './http-text.ts';
import type { Message } from './http-text.ts';
import { decodeFrames } from './ws-frames.ts';
import type { World } from './world.ts';

export const SERVER_BYTES = 'ORIGIN-SAYS-HELLO';

/** One connection that reached the origin. */
export interface Arrival {
  readonly index: number;
  /** As they came off the wire. */
  raw: Buffer;
  /** Without TLS. */
  plain: Buffer;
  secure: boolean;
  /** Name that the gateway asked for. */
  sni: string | undefined;
  /** The gateway has ended it. */
  closed: boolean;
}

/** A request that arrived whole. */
export interface ArrivedRequest extends Message {
  readonly connection: number;
  readonly http: '1' | '2';
}

export interface Script {
  /** First answer, in the pieces in which it is sent; later requests get an ordinary one. */
  readonly response?: readonly Buffer[];
  /** A row's `upstreamCert`. */
  readonly certificate?: string;
  /** Offer HTTP/2. */
  readonly http2?: boolean;
}

/** The origin that every vetted address stands for: TLS and clear text on one port, told apart by the first byte. */
export class CaseOrigin {
  readonly arrivals: Arrival[] = [];
  readonly requests: ArrivedRequest[] = [];
  /** Messages of WebSockets. */
  readonly messages: Buffer[] = [];
  /** Tunnels carry hand-made bytes: they are recorded and greeted, not understood. */
  opaque = false;
  readonly #world: World;
  #script: Script;
  readonly #sockets = new Set<Socket>();
  readonly #server = createServer({ allowHalfOpen: true }, (socket) => this.#arrive(socket));
  readonly #h2 = createH2Server();
  readonly #secured = new Map<number, Arrival>();
  #tls: TlsServer | undefined;
  #answered = 0;

  constructor(world: World, script: Script) {
    this.#world = world;
    this.#script = script;
    this.#h2.on('session', (session) => session.on('error', () => undefined));
    this.#h2.on('stream', (stream, headers, _flags, raw?: string[]) => {
      void this.#serveStream(stream, raw ?? Object.entries(headers).flat().map(String));
    });
  }

  /** From now on it behaves so; the next request gets the script's answer. */
  play(script: Script): void {
    this.#script = { ...this.#script, ...script };
    this.#answered = 0;
  }

  async listen(): Promise<number> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return portOf(this.#server);
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #arrive(socket: Socket): void {
    const arrival: Arrival = {
      index: this.arrivals.length,
      raw: Buffer.alloc(0),
      plain: Buffer.alloc(0),
      secure: false,
      sni: undefined,
      closed: false,
    };
    this.arrivals.push(arrival);
    this.#sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.on('end', () => (arrival.closed = true));
    socket.on('close', () => {
      arrival.closed = true;
      this.#sockets.delete(socket);
    });
    socket.once('data', (first: Buffer) => {
      arrival.raw = first;
      if (first[0] === 22 && !this.opaque) return this.#secure(socket, arrival, first);
      this.#serve(socket, arrival, first);
    });
  }

  #secure(socket: Socket, arrival: Arrival, first: Buffer): void {
    arrival.secure = true;
    socket.pause();
    socket.unshift(first);
    if (socket.remotePort !== undefined) this.#secured.set(socket.remotePort, arrival);
    this.#tlsServer().emit('connection', socket);
  }

  #tlsServer(): TlsServer {
    if (this.#tls !== undefined) return this.#tls;
    const server = createTlsServer({
      SNICallback: (name, done) => done(null, this.#world.contextFor(name, this.#script.certificate)),
      ALPNProtocols: this.#script.http2 === true ? ['h2', 'http/1.1'] : ['http/1.1'],
    });
    server.on('tlsClientError', (_error, socket) => socket.destroy());
    server.on('secureConnection', (socket) => {
      const arrival = this.#secured.get(socket.remotePort ?? -1);
      if (arrival === undefined) return void socket.destroy();
      arrival.sni = typeof socket.servername === 'string' ? socket.servername : undefined;
      socket.on('error', () => socket.destroy());
      if (socket.alpnProtocol === 'h2') return void this.#h2.emit('connection', socket);
      this.#serve(socket, arrival, Buffer.alloc(0));
    });
    this.#tls = server;
    return server;
  }

  #serve(socket: Duplex, arrival: Arrival, first: Buffer): void {
    let pending: Buffer = Buffer.alloc(0);
    let upgraded = false;
    const take = (chunk: Buffer): void => {
      arrival.plain = Buffer.concat([arrival.plain, chunk]);
      if (!arrival.secure && chunk !== first) arrival.raw = Buffer.concat([arrival.raw, chunk]);
      if (this.opaque) return void (chunk === first && socket.write(SERVER_BYTES));
      pending = Buffer.concat([pending, chunk]);
      while (!upgraded && pending.length > 0) {
        const read = readRequest(pending);
        if (read.state === 'part') return;
        if (read.state === 'not-http') return void socket.write(SERVER_BYTES);
        pending = pending.subarray(read.used);
        this.requests.push({ ...read.message, connection: arrival.index, http: '1' });
        upgraded = this.#answer(socket, read.message);
      }
      if (upgraded) {
        const { messages, used } = decodeFrames(pending);
        this.messages.push(...messages);
        pending = pending.subarray(used);
      }
    };
    socket.on('data', take);
    socket.on('end', () => socket.end());
    if (first.length > 0) take(first);
  }

  /** Answers one request; says whether the connection is a WebSocket from then on. */
  #answer(socket: Duplex, request: Message): boolean {
    const scripted = this.#answered++ === 0 ? this.#script.response : undefined;
    if (scripted !== undefined) {
      void sendPieces(socket, scripted, isEndless(Buffer.concat(scripted)));
      return (scripted[0]?.toString('latin1') ?? '').startsWith('HTTP/1.1 101');
    }
    const key = header(request, 'sec-websocket-key');
    if (/websocket/i.test(header(request, 'upgrade') ?? '') && key !== undefined) {
      const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
      socket.write(
        `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
      );
      return true;
    }
    const body = request.start.startsWith('HEAD ') ? '' : 'ok';
    socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n${body}`);
    return false;
  }

  async #serveStream(stream: ServerHttp2Stream, raw: readonly string[]): Promise<void> {
    const chunks: Buffer[] = [];
    stream.on('error', () => undefined);
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    const headers = Array.from(
      { length: raw.length / 2 },
      (_, i) => [raw[i * 2] ?? '', raw[i * 2 + 1] ?? ''] as const,
    );
    const of = (name: string): string => headers.find(([own]) => own === name)?.[1] ?? '';
    stream.on('end', () => {
      if (stream.aborted) return;
      const text = headers.map(([name, value]) => `${name}: ${value}\r\n`).join('');
      const body = Buffer.concat(chunks);
      const start = `${of(':method')} ${of(':path')} HTTP/2`;
      const whole = Buffer.from(`${start}\r\n${text}\r\n${body.toString('latin1')}`, 'latin1');
      this.requests.push({ start, headers, body, raw: whole, connection: 0, http: '2' });
      const grpc = of('content-type').startsWith('application/grpc');
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
      stream.respond({ ':status': 200 }, { waitForTrailers: grpc });
      stream.end('ok');
    });
  }
}

/** No framing: the end of the connection is the end of the body. */
function isEndless(response: Buffer): boolean {
  const head = response.toString('latin1').split('\r\n\r\n')[0] ?? '';
  return (
    !/^(content-length|transfer-encoding):/im.test(head) &&
    !/ (1\d\d|204|304) /.test(head.split('\r\n')[0] ?? '')
  );
}

async function sendPieces(socket: Duplex, pieces: readonly Buffer[], end: boolean): Promise<void> {
  for (const [i, piece] of pieces.entries()) {
    if (i > 0) await sleep(15);
    if (socket.destroyed) return;
    socket.write(piece);
  }
  if (end) socket.end();
}

import type { Socket } from 'node:net';
import { ChunkedDecoder } from '../../net/http1-body.ts';
import { readResponseHead } from '../../net/http1-head.ts';
import type { Http1Response } from '../../net/http1-head.ts';
import { BulkSocket } from '../bulk-socket.ts';
import { HEADER_LINES_MAX, judgeResponseFraming, tokensOf, valuesOf } from '../../net/http-head.ts';
import type { ResponseBody } from '../../net/http-head.ts';
import type {
  BodySink,
  BodySource,
  ExchangeRequest,
  TakenConnection,
  UpstreamConnection,
  UpstreamHandlers,
} from './contract.ts';
import { MessageWriter } from './writer.ts';
import type { WriterOwner } from './writer.ts';

/** Interim responses of one request; they are not relayed, a flood of them ends the exchange (RFC 9110 §15.2). */
const INTERIM_MAX = 8;
const HEAD_CAPS = { bytes: 64 * 1024, lines: HEADER_LINES_MAX } as const;
const NOTHING = Buffer.alloc(0);

/** What a connection tells its pool. */
export interface H1Owner {
  /** A clean exchange is over. `maxIdleMs`: how long the origin keeps the connection, when it says so. */
  idle(connection: H1Connection, maxIdleMs: number | undefined): void;
}

/** One HTTP/1.1 connection to an origin: one request at a time, its answer read strictly (RFC 9112 §6.3, §9). */
export class H1Connection {
  readonly socket: Socket;
  readonly address: string;
  readonly #owner: H1Owner;
  #turn: H1Turn | undefined;
  #served = 0;
  /** The pool's: after this time the connection is not used again. */
  idleUntil = 0;

  constructor(socket: Socket, address: string, owner: H1Owner) {
    this.socket = socket;
    this.address = address;
    this.#owner = owner;
    // The dialler leaves sockets half-open at the peer's end; an HTTP connection that was ended is over.
    socket.allowHalfOpen = false;
    socket.on('data', this.#onData).on('end', this.#onEnd).on('close', this.#onClose);
    socket.on('error', this.#onClose).on('drain', this.#onDrain);
    if (socket instanceof BulkSocket) socket.takeWith((chunk) => this.#take(socket, chunk));
    socket.resume();
  }

  get served(): number {
    return this.#served;
  }

  /** Begins one exchange. */
  turn(): H1Turn {
    const turn = new H1Turn(this, this.#served > 0);
    this.#turn = turn;
    return turn;
  }

  /** @internal The turn is over, cleanly: the origin may keep the connection for so long. */
  over(maxIdleMs: number | undefined): void {
    this.#served++;
    this.#turn = undefined;
    this.#owner.idle(this, maxIdleMs);
  }

  /** @internal The turn did not send anything. */
  unused(): void {
    this.#turn = undefined;
    this.#owner.idle(this, undefined);
  }

  /** @internal For an upgrade. */
  detach(): void {
    this.#turn = undefined;
    const { socket } = this;
    socket.off('data', this.#onData).off('end', this.#onEnd).off('close', this.#onClose);
    socket.off('drain', this.#onDrain);
    if (socket instanceof BulkSocket) socket.takeWith(undefined);
    socket.pause();
    socket.allowHalfOpen = true;
  }

  destroy(): void {
    this.socket.destroy();
  }

  /** The socket's own buffer is used again, unless something of the chunk is still on its way. */
  #take(socket: BulkSocket, chunk: Buffer): boolean {
    const turn = this.#turn;
    this.#onData(chunk);
    if (turn?.holds !== false) socket.keep();
    return true;
  }

  readonly #onData = (chunk: Buffer): void => {
    // An idle connection that says something is poisoned: its bytes would be taken for the answer to the next request.
    if (this.#turn === undefined) this.destroy();
    else this.#turn.receive(chunk);
  };

  readonly #onEnd = (): void => {
    this.#turn?.ended();
    this.destroy();
  };

  readonly #onClose = (): void => {
    const turn = this.#turn;
    this.#turn = undefined;
    turn?.lost('the connection was closed');
    this.destroy();
  };

  readonly #onDrain = (): void => this.#turn?.drained();
}

/** One request over a connection, and its answer. Once it is over it has no power over the connection any more. */
export class H1Turn implements UpstreamConnection, BodySource, WriterOwner {
  readonly http = '1.1';
  readonly reused: boolean;
  readonly #connection: H1Connection;
  #request: ExchangeRequest | undefined;
  #handlers: UpstreamHandlers | undefined;
  #onSwitch: ((head: Http1Response, taken: TakenConnection) => void) | undefined;
  #writer: MessageWriter | undefined;
  #sent = false;
  #heard = false;
  #interims = 0;
  /** A head that is not complete; later a body that nobody has asked for yet. */
  #rest: Buffer = NOTHING;
  #body: ResponseBody | undefined;
  #left = 0;
  #decoder: ChunkedDecoder | undefined;
  #sink: BodySink | undefined;
  #keep = true;
  #maxIdleMs: number | undefined;
  #over = false;

  constructor(connection: H1Connection, reused: boolean) {
    this.#connection = connection;
    this.reused = reused;
  }

  get address(): string {
    return this.#connection.address;
  }

  /** Something that was received has not been handed on to the kernel. */
  get holds(): boolean {
    return this.#rest.length > 0 || (this.#sink !== undefined && this.#sink.idle !== true);
  }

  send(request: ExchangeRequest, handlers: UpstreamHandlers): BodySink | undefined {
    this.#handlers = handlers;
    this.#request = request;
    if (this.#over) {
      // The connection went while the credential was looked up: nothing was sent on it.
      process.nextTick(() => handlers.failed('the connection was closed', true));
      return undefined;
    }
    const { body, method } = request;
    // An origin that ignores a GET's body would read it as the next request (CL.0): such a connection is used once.
    const once = body.kind !== 'none' && (method === 'GET' || method === 'HEAD');
    if (once) this.#keep = false;
    const length = body.kind === 'length' ? body.bytes : 0;
    const text = requestText(request, once);
    const writer = new MessageWriter(this.#connection.socket, this, {
      head: text,
      framing: body.kind,
      length,
    });
    this.#writer = writer;
    if (body.kind !== 'none') {
      writer.flushSoon();
      return writer;
    }
    writer.end();
    return undefined;
  }

  /** As `send`, for an upgrade to WebSocket: `switched` is called instead of `response` when the origin agrees. */
  upgrade(
    request: ExchangeRequest,
    handlers: UpstreamHandlers & {
      readonly switched: (head: Http1Response, taken: TakenConnection) => void;
    },
  ): void {
    this.#onSwitch = handlers.switched;
    this.#keep = false;
    const headers = [...request.headers, 'Connection', 'Upgrade', 'Upgrade', 'websocket'];
    this.send({ ...request, headers }, handlers);
  }

  abort(): void {
    if (this.#over) return;
    this.#over = true;
    this.#connection.destroy();
  }

  release(): void {
    if (this.#over || this.#request !== undefined) return this.abort();
    this.#over = true;
    this.#connection.unused();
  }

  /** The response's body goes to the sink; what is here of it at once. */
  pipe(sink: BodySink): void {
    this.#sink = sink;
    sink.onDrain(() => {
      if (!this.#over) this.#connection.socket.resume();
    });
    const rest = this.#rest;
    this.#rest = NOTHING;
    if (this.#connection.socket.isPaused()) this.#connection.socket.resume();
    if (rest.length > 0) this.#feed(rest);
  }

  cancel(): void {
    this.abort();
  }

  receive(chunk: Buffer): void {
    if (this.#over) return;
    this.#heard = true;
    if (this.#sink !== undefined) return this.#feed(chunk);
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    this.#rest = bytes;
    if (this.#body !== undefined) return void this.#connection.socket.pause();
    this.#readHeads();
  }

  /** The origin ended its side: the end of a body without length, or of nothing that is whole. */
  ended(): void {
    if (this.#over) return;
    if (this.#body?.kind !== 'close' || this.#sink === undefined)
      return this.lost('the connection was ended');
    this.#keep = false;
    this.#finish();
  }

  lost(why: string): void {
    if (this.#over) return;
    this.#over = true;
    if (this.#sink !== undefined) this.#sink.abort();
    else this.#handlers?.failed(why, this.reused && !this.#heard);
  }

  drained(): void {
    this.#writer?.drained();
  }

  written(): void {
    this.#sent = true;
  }

  broken(): void {
    this.abort();
  }

  /** Answers before the request was sent are answers to somebody else's. */
  #readHeads(): void {
    while (!this.#over) {
      if (this.#request === undefined) return this.#fail('the origin spoke before it was asked');
      const read = readResponseHead(this.#rest, HEAD_CAPS);
      if (read.state === 'more') return;
      if (read.state === 'bad') return this.#fail(`the answer is not HTTP/1.1: ${read.why}`);
      this.#rest = read.used === this.#rest.length ? NOTHING : this.#rest.subarray(read.used);
      if (read.head.status >= 200 || read.head.status === 101) return this.#begin(read.head);
      if (++this.#interims > INTERIM_MAX) return this.#fail('too many interim responses');
    }
  }

  #begin(head: Http1Response): void {
    const method = this.#request?.method ?? 'GET';
    if (head.status === 101) return this.#switch(head);
    const body = judgeResponseFraming(method, head.status, head.http, head.headers);
    if ('ok' in body) return this.#fail(`the answer is refused: ${body.why}`);
    this.#body = body;
    this.#left = body.kind === 'length' ? body.bytes : 0;
    if (body.kind === 'chunked') this.#decoder = new ChunkedDecoder();
    this.#readKeepAlive(head);
    const { status, headers } = head;
    const empty = body.kind === 'none' || (body.kind === 'length' && body.bytes === 0);
    if (!empty) return this.#handlers?.response({ status, headers }, this);
    const handlers = this.#handlers;
    // First back to the pool, so that the next request of this client finds it there.
    this.#finish();
    handlers?.response({ status, headers }, undefined);
  }

  #switch(head: Http1Response): void {
    const switched = this.#onSwitch;
    if (switched === undefined) return this.#fail('the origin switches protocols without being asked');
    this.#over = true;
    const { socket } = this.#connection;
    this.#connection.detach();
    switched(head, { socket, first: this.#rest });
  }

  #readKeepAlive(head: Http1Response): void {
    if (head.http === '1.0' || this.#body?.kind === 'close') this.#keep = false;
    for (let i = 0; i + 1 < head.headers.length; i += 2) {
      const name = head.headers[i] ?? '';
      if (name.length !== 10) continue;
      const key = name.toLowerCase();
      if (
        key === 'connection' &&
        head.headers[i + 1] !== 'keep-alive' &&
        tokensOf(head.headers, key).includes('close')
      )
        this.#keep = false;
      if (key === 'keep-alive') this.#maxIdleMs = hintOf(valuesOf(head.headers, key));
    }
  }

  #feed(chunk: Buffer): void {
    if (this.#over) return;
    const part =
      this.#decoder === undefined ? this.#takeLength(chunk) : this.#takeChunked(chunk, this.#decoder);
    if (part === undefined) return;
    const more = part.length === 0 || this.#sink?.write(part) !== false;
    // The sink may have ended all of this.
    if (this.#over) return;
    const whole =
      this.#decoder === undefined
        ? this.#body?.kind === 'length' && this.#left === 0
        : this.#decoder.state === 'done';
    if (whole) this.#finish();
    else if (!more) this.#connection.socket.pause();
  }

  #takeLength(chunk: Buffer): Buffer {
    if (this.#body?.kind === 'close') return chunk;
    const part = chunk.length > this.#left ? chunk.subarray(0, this.#left) : chunk;
    // More than was announced: another answer that nobody asked for (response queue poisoning).
    if (part.length < chunk.length) this.#keep = false;
    this.#left -= part.length;
    return part;
  }

  #takeChunked(chunk: Buffer, decoder: ChunkedDecoder): Buffer | undefined {
    const part = decoder.push(chunk);
    if (decoder.state === 'bad') {
      this.lost(decoder.why);
      this.#connection.destroy();
      return undefined;
    }
    if (decoder.state === 'done' && decoder.used < chunk.length) this.#keep = false;
    return part;
  }

  /** The answer is whole. Only then, and when the request was sent in full, may the connection carry another. */
  #finish(): void {
    this.#over = true;
    const sink = this.#sink;
    const clean = this.#keep && this.#sent && (sink !== undefined || this.#rest.length === 0);
    if (clean) this.#connection.over(this.#maxIdleMs);
    else this.#connection.destroy();
    sink?.end();
  }

  #fail(why: string): void {
    this.lost(why);
    this.#connection.destroy();
  }
}

function requestText(request: ExchangeRequest, once: boolean): string {
  const { method, target, headers, body } = request;
  let text = `${method} ${target} HTTP/1.1\r\n`;
  for (let i = 0; i + 1 < headers.length; i += 2) text += `${headers[i]}: ${headers[i + 1]}\r\n`;
  if (body.kind === 'length') text += `Content-Length: ${body.bytes}\r\n`;
  else if (body.kind === 'chunked') text += 'Transfer-Encoding: chunked\r\n';
  // RFC 9110 §8.6: methods that usually have a body say that there is none.
  else if (method !== 'GET' && method !== 'HEAD' && method !== 'OPTIONS' && method !== 'DELETE')
    text += 'Content-Length: 0\r\n';
  return once ? `${text}Connection: close\r\n\r\n` : `${text}\r\n`;
}

/** `Keep-Alive: timeout=5`: used for one second less, so that the origin's closing and our next request do not cross. */
function hintOf(values: readonly string[]): number | undefined {
  const seconds = /(?:^|[\s,])timeout=(\d{1,6})/i.exec(values.join(','))?.[1];
  return seconds === undefined ? undefined : Math.max(0, Number(seconds) * 1000 - 1000);
}

import type { Socket } from 'node:net';
import { ChunkedDecoder } from '../../net/http1-body.ts';
import { hasHeadEnd } from '../../net/http1-head.ts';
import { HEADER_LINES_MAX } from '../../net/http-head.ts';
import type { GatewayLimits } from '../limits.ts';
import { problemBytes } from '../problem.ts';
import type { Problem } from '../problem.ts';
import { reset, sayAndClose } from '../wire.ts';
import { H1Exchange } from './client-exchange.ts';
import { HeadReader } from './client-head.ts';
import type { ClientHead } from './client-head.ts';
import type { ClientExchange, TakenConnection } from './contract.ts';
import type { HttpWatch, Watched } from './watch.ts';

/** What a connection does not decide itself. */
export interface ClientHandlers {
  /** A request has come. The next one is read when this one is over. */
  exchange(exchange: ClientExchange): void;
  /** What came is no request (`head`), or the body of one is broken: records the refusal and says how it reads. */
  malformed(status: 400 | 417 | 431, why: string, part: 'head' | 'body'): Problem;
}

/** Heads in more pieces than this are looked at only when their end is there: each look is one parse. */
const EAGER_PIECES = 64;
/** Answers that the client has not read yet; above it the next request waits. */
const UNREAD_MAX = 64 * 1024;

const NOTHING = Buffer.alloc(0);

/**
 * The server's side of one HTTP/1 connection (RFC 9112): heads are read strictly, requests one after another, each is answered
 * before the next is looked at.
 */
export class ClientConnection implements Watched {
  readonly socket: Socket;
  readonly #handlers: ClientHandlers;
  readonly #limits: GatewayLimits;
  readonly #watch: HttpWatch;
  readonly #heads: HeadReader;
  /** Received and not used: the beginning of a head, or pipelined requests. */
  #rest: Buffer = NOTHING;
  #pieces = 0;
  #exchange: H1Exchange | undefined;
  /** Bytes of a body with a length that are still to come; the decoder of a chunked one. */
  #left = 0;
  #decoder: ChunkedDecoder | undefined;
  #reading = false;
  #closed = false;
  /** The last answer of the connection is on its way out. */
  #ending = false;
  #first = true;
  #since = Date.now();
  #bytes = 0;
  readonly #onData = (chunk: Buffer): void => this.#receive(chunk);
  readonly #onEnd = (): void => this.#gone();
  readonly #onDrain = (): void => this.#drained();

  constructor(socket: Socket, handlers: ClientHandlers, limits: GatewayLimits, watch: HttpWatch) {
    this.socket = socket;
    this.#handlers = handlers;
    this.#limits = limits;
    this.#watch = watch;
    this.#heads = new HeadReader({ bytes: limits.headBytes, lines: HEADER_LINES_MAX });
  }

  start(): void {
    this.#watch.add(this);
    const { socket } = this;
    socket.on('data', this.#onData).on('end', this.#onEnd).on('close', this.#onEnd);
    socket.on('error', this.#onEnd).on('drain', this.#onDrain);
    socket.resume();
  }

  tick(now: number): void {
    const { socket } = this;
    const bytes = socket.bytesRead + socket.bytesWritten;
    const busy = this.#exchange !== undefined || socket.writableLength > 0;
    // Bytes of a head are no progress: a head has one time limit, however slowly it trickles.
    if (busy && bytes !== this.#bytes) this.#since = now;
    this.#bytes = bytes;
    if (now - this.#since > this.#limit(busy)) this.destroy();
  }

  #limit(busy: boolean): number {
    if (!busy) return this.#first ? this.#limits.headMs : this.#limits.idleMs;
    // A body that nobody has asked for yet waits for us: an answer, a budget, the origin.
    const waitsForClient = this.#reading && this.#exchange?.hasSink === true;
    return waitsForClient || this.socket.writableLength > 0
      ? this.#limits.stallMs
      : this.#limits.upstreamIdleMs;
  }

  #receive(chunk: Buffer): void {
    if (this.#closed || this.#ending) return;
    if (this.#reading) return this.#feed(chunk);
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    this.#pieces++;
    // The next request waits for the answer to this one, in the kernel rather than here.
    if (this.#exchange !== undefined || this.socket.writableLength > UNREAD_MAX) this.socket.pause();
    else this.#readHead();
  }

  #readHead(): void {
    const bytes = this.#rest;
    if (bytes.length === 0) return;
    if (this.#pieces > EAGER_PIECES && bytes.length < this.#limits.headBytes && !hasHeadEnd(bytes)) return;
    const read = this.#heads.read(bytes);
    if (read.state === 'more') return;
    if (read.state === 'bad') return this.#refuse(read.status, `it is not HTTP/1.1 (${read.why})`);
    this.#rest = read.used === bytes.length ? NOTHING : bytes.subarray(read.used);
    this.#pieces = 0;
    this.#begin(read.head);
  }

  #begin(head: ClientHead): void {
    this.#first = false;
    this.#since = Date.now();
    const { request, expectation, keep } = head;
    if (expectation === 'unknown') return this.#refuse(417, 'an expectation other than 100-continue');
    const { body } = request;
    this.#reading = body.kind === 'chunked' || (body.kind === 'length' && body.bytes > 0);
    this.#left = body.kind === 'length' ? body.bytes : 0;
    this.#decoder = body.kind === 'chunked' ? new ChunkedDecoder() : undefined;
    const expects = expectation === 'continue' && this.#reading;
    const exchange = new H1Exchange(this, request, { keep, expects });
    this.#exchange = exchange;
    // Nothing of a body is read before somebody wants it.
    if (this.#reading) this.socket.pause();
    this.#handlers.exchange(exchange);
  }

  /** Somebody wants the body: what is here of it goes first. */
  readBody(): void {
    if (!this.#reading || this.#closed) return;
    const rest = this.#rest;
    this.#rest = NOTHING;
    if (rest.length > 0) this.#feed(rest);
    if (!this.#closed && this.#exchange?.wantsMore !== false) this.socket.resume();
  }

  get bodyIsOpen(): boolean {
    return this.#reading;
  }

  #feed(chunk: Buffer): void {
    if (this.#exchange?.hasSink !== true) {
      this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
      return void this.socket.pause();
    }
    if (this.#decoder === undefined) this.#feedLength(chunk);
    else this.#feedChunked(chunk, this.#decoder);
  }

  #feedLength(chunk: Buffer): void {
    const over = chunk.length > this.#left;
    const part = over ? chunk.subarray(0, this.#left) : chunk;
    if (over) this.#rest = chunk.subarray(this.#left);
    this.#left -= part.length;
    if (this.#left === 0) this.#reading = false;
    this.#deliver(part);
  }

  #feedChunked(chunk: Buffer, decoder: ChunkedDecoder): void {
    const part = decoder.push(chunk);
    if (decoder.state === 'bad') return this.#badBody(decoder.why);
    if (decoder.state === 'done') {
      this.#reading = false;
      if (decoder.used < chunk.length) this.#rest = chunk.subarray(decoder.used);
    }
    this.#deliver(part);
  }

  #deliver(part: Buffer): void {
    const exchange = this.#exchange;
    if (exchange === undefined) return;
    if (part.length > 0 && !exchange.deliver(part) && this.#reading) this.socket.pause();
    if (this.#reading) return;
    exchange.delivered();
    this.#settle();
  }

  #badBody(why: string): void {
    const exchange = this.#exchange;
    this.#reading = false;
    const problem = this.#handlers.malformed(400, why, 'body');
    exchange?.bodyBroken();
    // An answer that has begun is cut: the client must not take it for whole.
    if (exchange === undefined || exchange.begun) this.destroy();
    else exchange.answer(problem);
  }

  /** The answer is out; the body may still be coming. */
  answered(): void {
    if (this.#reading) {
      // An origin may answer without waiting for the body: the rest is read and dropped, so that the client reads the answer.
      this.#exchange?.cancel();
      return;
    }
    this.#settle();
  }

  /** Request and answer are both over: the next one. */
  #settle(): void {
    const exchange = this.#exchange;
    if (exchange === undefined || !exchange.isOut || this.#reading || this.#closed) return;
    this.#exchange = undefined;
    this.#since = Date.now();
    if (!exchange.keep) return this.#endAfterFlush();
    if (this.socket.writableLength > UNREAD_MAX) return;
    // Not from here: a client that pipelines thousands of requests must not deepen the stack with each.
    if (this.#rest.length > 0) process.nextTick(nextRequest, this);
    if (this.socket.isPaused()) this.socket.resume();
  }

  /** A slow reader gets the rest of its answer: only then does the clock of the linger start. */
  #endAfterFlush(): void {
    if (this.socket.writableLength === 0) return this.#finish(NOTHING);
    this.#ending = true;
    this.socket.write(NOTHING, () => this.#finish(NOTHING));
  }

  /** @internal For `#settle`. */
  next(): void {
    if (this.#closed || this.#ending || this.#exchange !== undefined) return;
    this.#pieces = 0;
    this.#readHead();
  }

  #drained(): void {
    const exchange = this.#exchange;
    if (exchange !== undefined) return exchange.drained();
    if (this.#closed) return;
    this.next();
    if (this.#exchange === undefined && this.socket.isPaused()) this.socket.resume();
  }

  #refuse(status: 400 | 417 | 431, why: string): void {
    this.#finish(problemBytes(this.#handlers.malformed(status, why, 'head')));
  }

  /** Says a last word; what the client still sends belongs to a request that is over. */
  finishWith(problem: Problem, withBody: boolean): void {
    this.#finish(problemBytes(withBody ? problem : { ...problem, body: '' }));
  }

  #finish(lastWord: Uint8Array | string): void {
    if (this.#closed) return;
    this.#leave();
    sayAndClose(this.socket, lastWord, this.#limits);
  }

  /** @internal For an upgrade. */
  take(): TakenConnection {
    const first = this.#rest;
    this.#rest = NOTHING;
    this.#exchange = undefined;
    this.#leave();
    this.socket.pause();
    return { socket: this.socket, first };
  }

  /** Cuts the connection. With RST where there is no other sign: a body that ends with its connection must not look whole. */
  destroy(): void {
    const cut = this.#exchange?.begun === true && !('encrypted' in this.socket);
    if (cut) reset(this.socket);
    this.#gone();
    this.socket.destroy();
  }

  #gone(): void {
    if (this.#closed) return;
    this.#leave();
    const exchange = this.#exchange;
    this.#exchange = undefined;
    if (this.#reading) exchange?.bodyBroken();
    exchange?.lost();
    this.socket.destroy();
  }

  /** Nothing of this connection is ours any more. */
  #leave(): void {
    this.#closed = true;
    this.#watch.release(this);
    const { socket } = this;
    socket.off('data', this.#onData).off('end', this.#onEnd).off('close', this.#onEnd);
    socket.off('drain', this.#onDrain);
  }
}

function nextRequest(connection: ClientConnection): void {
  connection.next();
}

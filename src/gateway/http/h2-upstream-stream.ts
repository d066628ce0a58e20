import type { ClientHttp2Session, ClientHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import { addAbortSignal } from 'node:stream';
import { HEADER_LINES_MAX, valuesOf } from '../../net/http-head.ts';
import type { RawHeaders } from '../../net/http-head.ts';
import type { BodySink, ExchangeRequest, UpstreamConnection, UpstreamHandlers } from './contract.ts';
import { EndWatch, H2Sink, H2Source, NO_SINK } from './h2-body.ts';
import { fromRaw, toFields } from './h2-fields.ts';
import type { Fields } from './h2-fields.ts';
import { isGrpcRequest } from './h2-grpc.ts';
import { pairsOf } from './h2-head.ts';
import { H2_CODE } from './h2-limits.ts';
import type { H2Limits } from './h2-limits.ts';

/** What a stream needs of its session. */
export interface StreamOwner {
  readonly session: ClientHttp2Session;
  readonly socket: Socket;
  readonly limits: H2Limits;
  /** The origin said in its GOAWAY that it never looked at this stream (RFC 9113 §6.8). */
  wasRefused(stream: number): boolean;
  /** No new streams. */
  retire(): void;
  /** The stream is over. */
  done(): void;
}

/** A session that gave not one byte for this long to a request that was then given up is not trusted with another. */
const MUTE_MS = 10_000;

/** END_STREAM in the flags of a HEADERS frame (RFC 9113 §6.2). */
const END_STREAM = 0x1;

/** One request on an origin's HTTP/2 connection. */
export class OriginStream implements UpstreamConnection {
  readonly address: string;
  readonly http = '2';
  readonly reused: boolean;
  readonly #owner: StreamOwner;
  #stream: ClientHttp2Stream | undefined;
  #handlers: UpstreamHandlers | undefined;
  #grpc = false;
  #bodyless = false;
  #interim = 0;
  /** Bytes that the answer's Content-Length promises. */
  #length: number | undefined;
  #sentAt = 0;
  /** Bytes that the session had received when this request left. */
  #before = 0;
  #released = false;

  constructor(owner: StreamOwner, address: string, reused: boolean) {
    this.#owner = owner;
    this.address = address;
    this.reused = reused;
  }

  send(request: ExchangeRequest, handlers: UpstreamHandlers): BodySink | undefined {
    this.#handlers = handlers;
    this.#grpc = isGrpcRequest(request.headers);
    this.#bodyless = request.method === 'HEAD';
    const made = requestFields(request, this.#grpc);
    if (!made.ok) return this.#failSoon(made.why, false);
    const hasBody =
      request.body.kind === 'chunked' || (request.body.kind === 'length' && request.body.bytes > 0);
    const { session, socket } = this.#owner;
    this.#sentAt = Date.now();
    this.#before = socket.bytesRead;
    let stream: ClientHttp2Stream;
    try {
      stream = session.request(made.fields, { endStream: !hasBody });
    } catch {
      // The session went away since it was asked for a stream: nothing was sent.
      return this.#failSoon('the connection to the origin has closed', true);
    }
    this.#stream = stream;
    this.#listen(stream);
    if (request.body.kind === 'none') return undefined;
    return hasBody ? new H2Sink(stream, { trailers: false, cut: () => this.#cut() }) : NO_SINK;
  }

  abort(): void {
    this.#handlers = undefined;
    const { socket } = this.#owner;
    const isMute =
      this.#sentAt > 0 && Date.now() - this.#sentAt > MUTE_MS && socket.bytesRead === this.#before;
    if (isMute) this.#owner.retire();
    if (this.#stream === undefined) this.#done();
    else this.#cut();
  }

  /** A request that has left is ended, not given back. */
  release(): void {
    if (this.#stream === undefined) this.#done();
    else this.abort();
  }

  #done(): void {
    if (this.#released) return;
    this.#released = true;
    this.#owner.done();
  }

  #listen(stream: ClientHttp2Stream): void {
    const watch = new EndWatch(stream, false);
    stream.on('headers', () => this.#onInterim());
    stream.once('response', (_headers: unknown, flags: number, raw: RawHeaders) =>
      this.#onResponse(stream, watch, { flags, raw }),
    );
    // The code tells the same, in "close".
    stream.on('error', () => undefined);
    stream.once('close', () => {
      this.#fail(reasonOf(stream), this.#isRetryable(stream));
      this.#done();
    });
  }

  /** 103 and its like are not passed on: their links were not looked at. */
  #onInterim(): void {
    this.#interim++;
    if (this.#interim <= this.#owner.limits.informational) return;
    this.#fail('a flood of informational answers', false);
    this.#cut();
  }

  #onResponse(
    stream: ClientHttp2Stream,
    watch: EndWatch,
    { flags, raw }: { readonly flags: number; readonly raw: RawHeaders },
  ): void {
    const handlers = this.#handlers;
    if (handlers === undefined) return;
    const headers = fromRaw(raw);
    if (headers.length / 2 > HEADER_LINES_MAX) {
      this.#fail(`an answer of over ${HEADER_LINES_MAX} header lines`, false);
      return this.#cut();
    }
    this.#handlers = undefined;
    const head = { status: statusOf(raw), headers };
    const [length] = valuesOf(headers, 'content-length');
    // HEAD and 304 announce what they do not send.
    if (length !== undefined && !this.#bodyless && head.status !== 304) this.#length = Number(length);
    if ((flags & END_STREAM) === 0) return handlers.response(head, this.#source(stream, watch));
    handlers.response(head, undefined);
    this.#onWhole(stream);
    // Nothing follows, and without a reader the stream would not end.
    stream.resume();
  }

  #source(stream: ClientHttp2Stream, watch: EndWatch): H2Source {
    return new H2Source(stream, watch, {
      length: this.#length,
      trailers: this.#grpc,
      endsWithNoError: true,
      onCancel: () => this.#cut(),
      onEnd: () => this.#onWhole(stream),
    });
  }

  /** The origin has said all: what is left of the request is of no use to it. */
  #onWhole(stream: ClientHttp2Stream): void {
    if (!stream.writableEnded) this.#cut();
  }

  #isRetryable(stream: ClientHttp2Stream): boolean {
    if (stream.rstCode === H2_CODE.refusedStream || stream.id === undefined) return true;
    if (this.#owner.wasRefused(stream.id)) return true;
    const { session, socket } = this.#owner;
    // As for HTTP/1: a connection that was kept and closed before a byte came back.
    return this.reused && session.destroyed && socket.bytesRead === this.#before;
  }

  /** Ends the stream with CANCEL and without END_STREAM: `close(code)` would end the request first, so that it looks whole. */
  #cut(): void {
    const stream = this.#stream;
    if (stream !== undefined && !stream.destroyed) addAbortSignal(AbortSignal.abort(), stream);
  }

  #failSoon(why: string, retryable: boolean): undefined {
    process.nextTick(() => {
      this.#fail(why, retryable);
      this.#done();
    });
    return undefined;
  }

  #fail(why: string, retryable: boolean): void {
    const handlers = this.#handlers;
    this.#handlers = undefined;
    handlers?.failed(why, retryable);
  }
}

function requestFields({ method, target, headers, body }: ExchangeRequest, grpc: boolean): Fields {
  const list: string[] = [];
  let authority = '';
  for (const [name, value] of pairsOf(headers)) {
    const key = name.toLowerCase();
    if (key === 'host') authority = value;
    else if (key !== 'content-length' && key !== 'te') list.push(key, value);
  }
  if (body.kind === 'length') list.push('content-length', String(body.bytes));
  if (grpc) list.push('te', 'trailers');
  return toFields({ ':method': method, ':scheme': 'https', ':authority': authority, ':path': target }, list);
}

function statusOf(raw: RawHeaders): number {
  for (const [name, value] of pairsOf(raw)) if (name === ':status') return Number(value);
  return 0;
}

function reasonOf(stream: ClientHttp2Stream): string {
  const code = stream.rstCode;
  return code === undefined || code === H2_CODE.none
    ? 'the origin closed the connection before it answered'
    : `the origin ended the request with HTTP/2 error ${code}`;
}

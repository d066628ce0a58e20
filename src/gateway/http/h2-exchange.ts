import type { ServerHttp2Stream, ServerStreamResponseOptions } from 'node:http2';
import type { RawHeaders } from '../../net/http-head.ts';
import type { Verdict } from '../contract.ts';
import { problemOf } from '../problem.ts';
import type { Problem } from '../problem.ts';
import type { BodySink, BodySource, ClientExchange, ExchangeRequest, ResponseHead } from './contract.ts';
import { H2Sink, H2Source, NO_SINK } from './h2-body.ts';
import type { EndWatch } from './h2-body.ts';
import { toFields } from './h2-fields.ts';
import { grpcMessages, trailersOnly } from './h2-grpc.ts';
import type { H2Head } from './h2-head.ts';
import { H2_CODE } from './h2-limits.ts';

/** Interval of looking whether a slow client has taken the end of its answer. */
const FLUSH_LOOK_MS = 50;

export interface H2ExchangeOptions {
  readonly stream: ServerHttp2Stream;
  readonly head: H2Head;
  /** The request has no body after all, though its head left that open. */
  readonly empty: boolean;
  readonly watch: EndWatch;
  /** Bytes of one gRPC message. */
  readonly messageBytes: number;
  /** A refusal that is decided here, for the record. */
  readonly onRefused: (verdict: Verdict) => void;
}

/** One stream of a client as an exchange. */
export class H2Exchange implements ClientExchange {
  readonly request: ExchangeRequest;
  readonly source: BodySource | undefined;
  readonly expectsContinue: boolean;
  readonly #stream: ServerHttp2Stream;
  readonly #options: H2ExchangeOptions;
  readonly #body: H2Source | undefined;
  #sink: H2Sink | undefined;
  #began = false;
  #final = false;
  #cut = false;
  #over = false;
  #onClose: ((complete: boolean) => void) | undefined;

  constructor(options: H2ExchangeOptions) {
    const { stream, head, empty } = options;
    this.#stream = stream;
    this.#options = options;
    const body = empty && head.body.kind === 'chunked' ? ({ kind: 'none' } as const) : head.body;
    this.#body = empty || body.kind === 'none' ? undefined : this.#openBody(options);
    this.source = this.#body ?? (body.kind === 'none' ? undefined : NO_BYTES);
    this.expectsContinue = head.expectsContinue && this.#body !== undefined;
    const { method, target, headers } = head;
    this.request = { http: '2', method, target, headers, body };
    // Unread, Node would end the answer with a reset in place of END_STREAM.
    if (this.#body === undefined) stream.resume();
    stream.once('finish', () => this.#onFinish());
    // Node may close a stream that is over before it has said "finish", so what was given is what counts.
    stream.once('close', () => this.#settle(stream.rstCode === H2_CODE.none && stream.writableEnded));
    stream.once('aborted', () => {
      this.#settle(false);
      // A paused body would keep the stream from ending.
      stream.destroy();
    });
  }

  /** Bytes of the request's body so far. */
  get received(): number {
    return this.#body?.received ?? 0;
  }

  /** The gateway ended the stream, not the client. */
  get cut(): boolean {
    return this.#cut;
  }

  /** Moves whenever a byte of the request arrives or one of the answer leaves. */
  get progress(): number {
    return this.received + (this.#sink?.passed ?? 0);
  }

  /** The client owes us bytes, or does not take ours. */
  get waitsForClient(): boolean {
    const isUploading = this.#body?.over === false && !this.#options.head.grpc;
    return isUploading || this.#stream.writableLength > 0;
  }

  sendContinue(): void {
    if (this.#isOpen() && !this.#stream.headersSent) this.#stream.additionalHeaders({ ':status': 100 });
  }

  respond(head: ResponseHead, hasBody: boolean): BodySink {
    if (!this.#isOpen() || this.#began) return NO_SINK;
    const made = toFields({ ':status': head.status }, head.headers);
    if (!made.ok || head.status < 200 || head.status > 599) {
      this.answer(unsendable(made.ok ? `status ${head.status}` : made.why));
      return NO_SINK;
    }
    this.#began = true;
    const { grpc } = this.#options.head;
    this.#stream.respond(made.fields, respondOptions(!hasBody, hasBody && grpc));
    // HEAD, 204 and 304 end with their head, whatever follows.
    if (!hasBody || this.#stream.writableEnded) return NO_SINK;
    this.#sink = new H2Sink(this.#stream, {
      trailers: grpc,
      cut: () => this.destroy(),
      onWhole: () => this.#onFinish(),
    });
    return this.#sink;
  }

  answer(problem: Problem): void {
    if (!this.#isOpen()) return;
    if (this.#began) return this.destroy();
    this.#began = true;
    this.#final = true;
    const { grpc } = this.#options.head;
    const status = grpc ? 200 : problem.status;
    const made = toFields({ ':status': status }, grpc ? trailersOnly(problem) : problem.headers);
    if (!made.ok) return this.expire();
    this.#stream.respond(made.fields, respondOptions(grpc));
    if (!grpc && !this.#stream.writableEnded) this.#stream.end(problem.body);
  }

  destroy(): void {
    // An answer of ours is whole already, and says why the exchange ends.
    if (!this.#final) this.expire();
  }

  /** Cuts the stream whatever is under way on it. */
  expire(): void {
    this.#cut = true;
    // `close(code)` would end the answer with END_STREAM before the reset; an error does not.
    this.#stream.destroy(new Error('the exchange was cut'));
  }

  onClose(listener: (complete: boolean) => void): void {
    if (this.#over) return listener(false);
    this.#onClose = listener;
  }

  #openBody({ stream, head, watch, messageBytes }: H2ExchangeOptions): H2Source {
    const messages = head.grpc ? grpcMessages(head.headers, messageBytes) : undefined;
    return new H2Source(stream, watch, {
      length: head.body.kind === 'length' ? head.body.bytes : undefined,
      // No call has any (grpc/doc/PROTOCOL-HTTP2.md, "Requests"), and nobody would judge what stands in them.
      trailers: false,
      onCancel: () => this.#endEarly(),
      judge: (chunk) => this.#judge(chunk === undefined ? messages?.end() : messages?.update(chunk)),
    });
  }

  /** False, and the answer given, when there is something wrong with the body. */
  #judge(why: string | undefined): boolean {
    if (why === undefined) return true;
    const verdict: Verdict = {
      action: 'deny',
      rule: 'structural.grpc-message',
      reason: `the request is refused: ${why}`,
    };
    this.#options.onRefused(verdict);
    this.answer(problemOf(413, verdict));
    return false;
  }

  /** The answer is out: the rest of the request is of no use (RFC 9113 §8.1). */
  #onFinish(): void {
    if (this.#stream.aborted || this.#stream.closed) return;
    this.#endEarly();
  }

  #endEarly(): void {
    if (!this.#isAnswered() || this.#options.watch.whole || this.#stream.closed) return;
    setImmediate(() => this.#closeWhenOut());
  }

  /** A reset that is queued overtakes trailers that are (nghttp2): it waits until the connection has taken everything. */
  #closeWhenOut(): void {
    const stream = this.#stream;
    if (stream.destroyed || stream.closed) return;
    if ((stream.session?.state.outboundQueueSize ?? 0) > 0) {
      setTimeout(() => this.#closeWhenOut(), FLUSH_LOOK_MS).unref();
      return;
    }
    stream.close(H2_CODE.none);
    stream.resume();
  }

  #isAnswered(): boolean {
    return this.#began && (this.#sink?.isWhole ?? this.#stream.writableFinished);
  }

  #isOpen(): boolean {
    return !this.#over && !this.#stream.destroyed && !this.#stream.closed;
  }

  #settle(complete: boolean): void {
    if (this.#over) return;
    this.#over = true;
    this.#onClose?.(complete);
  }
}

/** A body of no bytes whose length was announced. */
const NO_BYTES: BodySource = Object.freeze({ pipe: (sink: BodySink) => sink.end(), cancel: () => undefined });

/** Answers a stream that never became an exchange. */
export function refuseStream(stream: ServerHttp2Stream, grpc: boolean, problem: Problem): void {
  if (stream.destroyed || stream.closed) return;
  const headers: RawHeaders = grpc ? trailersOnly(problem) : problem.headers;
  const made = toFields({ ':status': grpc ? 200 : problem.status }, headers);
  if (!made.ok) return void stream.destroy();
  stream.respond(made.fields, respondOptions(grpc));
  if (!stream.writableEnded) stream.end(problem.body);
  // A refused client may go on sending; what it still sends is not wanted.
  stream.once('finish', () => {
    if (!stream.closed) stream.close(H2_CODE.none);
    stream.resume();
  });
}

/** Node would add a Date of its own; the option against it is missing from its types. */
function respondOptions(endStream: boolean, waitForTrailers = false): ServerStreamResponseOptions {
  const options = { endStream, waitForTrailers, sendDate: false };
  return options;
}

function unsendable(why: string): Problem {
  return problemOf(502, {
    action: 'deny',
    rule: 'structural.response',
    reason: `the origin's answer cannot be sent: ${why}`,
  });
}

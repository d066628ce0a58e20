import type { Socket } from 'node:net';
import type { Body, RawHeaders } from '../../net/http-head.ts';
import type { Verdict } from '../contract.ts';
import type { Entry } from '../core.ts';
import type { Allowed } from '../decide.ts';
import type { Problem } from '../problem.ts';

/** Receives a body chunk by chunk. Calls come in the order write* (end | abort), and nothing after the last. */
export interface BodySink {
  /** The chunk belongs to the sink from now on. False: send nothing more until the function given to `onDrain` is called. */
  write(chunk: Buffer): boolean;
  onDrain(resume: () => void): void;
  end(trailers?: RawHeaders): void;
  /** The source broke: what has arrived must not be taken for a whole body. */
  abort(): void;
  /** True when nothing that was written is held any more, so that its memory may be used again. Absent: it may be held. */
  readonly idle?: boolean;
}

/** Gives a body to one sink. Nothing is read before `pipe` is called. */
export interface BodySource {
  pipe(sink: BodySink): void;
  /** Nobody wants the rest: it is read and dropped where that is cheap, else its connection ends. */
  cancel(): void;
}

/** A request as its front read it, framing checked, nothing else. */
export interface ExchangeRequest {
  readonly http: '1.0' | '1.1' | '2';
  readonly method: string;
  /** Origin-form, absolute-form or `*`, as it came; for HTTP/2 the value of `:path`. */
  readonly target: string;
  /** As they came, in order, duplicates kept. For HTTP/2 the pseudo-headers are left out and `host` is added from `:authority`. */
  readonly headers: RawHeaders;
  readonly body: Body;
}

export interface ResponseHead {
  /** 200 to 999, or 101 where the request asked for it. */
  readonly status: number;
  readonly headers: RawHeaders;
}

/** One request and its answer on the client's side, whatever version of HTTP carried it. */
export interface ClientExchange {
  readonly request: ExchangeRequest;
  /** Undefined when there is no body. */
  readonly source: BodySource | undefined;
  /** The client waits for 100 before it sends the body. */
  readonly expectsContinue: boolean;
  sendContinue(): void;
  /** The origin's answer begins. `hasBody` false: the head is all there is. Called at most once, and not after `answer`. */
  respond(head: ResponseHead, hasBody: boolean): BodySink;
  /** The gateway's own answer. HTTP/1 connections end with it; of HTTP/2 the stream does. */
  answer(problem: Problem): void;
  /** Cuts the exchange: the client sees a reset, never something that looks complete. */
  destroy(): void;
  /** Called once when the client is gone or the answer is out, with whether the answer was complete. */
  onClose(listener: (complete: boolean) => void): void;
  /** HTTP/1 only: gives the connection away, for an upgrade that was agreed on. `onClose` is not called any more. */
  takeOver?(): TakenConnection;
}

/** A connection that is HTTP no longer: nothing of ours listens to it, and it is paused. */
export interface TakenConnection {
  readonly socket: Socket;
  /** Bytes of the other side that were read already. */
  readonly first: Buffer;
}

/** What comes back from an origin. Exactly one of `response` and `failed` is called, once; `failed` also after `response` is possible as `source.abort`. */
export interface UpstreamHandlers {
  readonly response: (head: ResponseHead, source: BodySource | undefined) => void;
  /** `retryable`: the origin cannot have acted on it (a kept connection was closed before a byte came back, an HTTP/2 stream was refused). */
  readonly failed: (why: string, retryable: boolean) => void;
}

/** A connection to an origin's vetted address, its certificate verified where there is one. */
export interface UpstreamConnection {
  readonly address: string;
  readonly http: '1.1' | '2';
  /** True when it carried requests before. */
  readonly reused: boolean;
  /**
   * Sends one request, rebuilt from checked parts: `target` in origin-form, `headers` with one Host and without framing or
   * hop-by-hop ones (the connection writes those itself, from `body`). Answers where its body goes, undefined when it has none.
   * The connection goes back to the pool by itself after a clean exchange, and is destroyed after any other.
   */
  send(request: ExchangeRequest, handlers: UpstreamHandlers): BodySink | undefined;
  /** The client left: the exchange is over, nothing of it may look complete to the origin. */
  abort(): void;
  /** Was acquired and is not needed: back to the pool untouched. */
  release(): void;
}

/** A way to an origin; or a refusal by policy; or a failure of the network, which is no decision. */
export type Acquired =
  | { readonly state: 'ok'; readonly connection: UpstreamConnection }
  | { readonly state: 'denied'; readonly verdict: Verdict }
  /** `verdict`: recorded already, for the page. */
  | { readonly state: 'failed'; readonly why: string; readonly verdict?: Verdict };

/** One HTTP/2 connection to an origin: carries many requests at once. The pool owns it. */
export interface UpstreamSession {
  /** A stream for one request; undefined when the session takes no more (GOAWAY, too many streams, closed). */
  open(): UpstreamConnection | undefined;
  /** No new streams; ends when the last one has. */
  retire(): void;
}

/** Makes a session of a verified connection whose ALPN is h2. `onIdle`: a stream has ended, another may begin. */
export type OpenSession = (
  socket: Socket,
  address: string,
  target: Allowed,
  onIdle: () => void,
) => UpstreamSession;

export interface AcquireOptions {
  readonly secure: boolean;
  /** Offer HTTP/2 to the origin. */
  readonly http2: boolean;
  /** Where the request came in, for records. */
  readonly entry: Entry;
  /** False: whoever asked is gone, and nothing is opened for it any more. */
  readonly wanted: () => boolean;
}

/** Connections to origins: each was opened to a vetted address of one host and port under one rule, and carries requests of that rule only. */
export interface OriginPool {
  /** An idle connection at once, without a promise; undefined when one has to be waited for. */
  take(target: Allowed, options: AcquireOptions): UpstreamConnection | undefined;
  /** Opens a connection, resolved and vetted anew, or waits for one when there are enough. */
  acquire(target: Allowed, options: AcquireOptions): Promise<Acquired>;
  /** The policy changed: idle connections close, busy ones and those being opened are not used again. */
  retire(): void;
  close(): void;
}

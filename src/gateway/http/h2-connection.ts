import { performServerHandshake } from 'node:http2';
import type { ServerHttp2Session, ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import type { RawHeaders } from '../../net/http-head.ts';
import type { Verdict } from '../contract.ts';
import { placeOf, recordDeny } from '../core.ts';
import type { GatewayCore, HttpScope } from '../core.ts';
import { problemOf, statusOf } from '../problem.ts';
import type { ClientExchange } from './contract.ts';
import { EndWatch } from './h2-body.ts';
import { H2Exchange, refuseStream } from './h2-exchange.ts';
import { FloodMeter, UseMeter } from './h2-flood.ts';
import { isGrpcRequest } from './h2-grpc.ts';
import { readH2Head } from './h2-head.ts';
import type { H2Head } from './h2-head.ts';
import { H2_CODE, NODE_HEADER_PAIRS } from './h2-limits.ts';
import type { H2Limits } from './h2-limits.ts';
import { recordUnread } from './unread.ts';
import type { UnreadFacts } from './unread.ts';
import type { Watched } from './watch.ts';

export type PinnedScope = Extract<HttpScope, { kind: 'pinned' }>;

/** Judges one exchange and brings it to its origin and back. */
export type RunExchange = (core: GatewayCore, scope: HttpScope, exchange: ClientExchange) => void;

/** What the connections of one front share. */
export interface H2Shared {
  readonly core: GatewayCore;
  readonly limits: H2Limits;
  readonly run: RunExchange;
  /** Streams at once over all connections. */
  streams: number;
  readonly onGone: (connection: H2Connection) => void;
}

interface OpenStream {
  exchange: H2Exchange | undefined;
  /** Refused before it became an exchange: its record is written. */
  recorded: boolean;
  progress: number;
  /** When it last made progress. */
  since: number;
  /** Bytes of its body that the meter of use knows of. */
  credited: number;
}

/** Methods whose requests seldom have a body, though many clients leave that open in the head. */
const BODILESS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'DELETE']);

/** END_STREAM in the flags of a HEADERS frame (RFC 9113 §6.2). */
const END_STREAM = 0x1;

/** One client's HTTP/2 connection: to one host, every stream judged on its own. */
export class H2Connection implements Watched {
  readonly #shared: H2Shared;
  readonly #scope: PinnedScope;
  readonly #socket: Socket;
  readonly #session: ServerHttp2Session;
  readonly #streams = new Map<ServerHttp2Stream, OpenStream>();
  readonly #flood: FloodMeter;
  readonly #use = new UseMeter(Date.now());
  /** Since when nothing is open. */
  #idleSince = Date.now();
  #closingSince: number | undefined;
  /** Id of the latest stream that came here, and of the latest that the parser has seen. */
  #lastId = 0;
  #lastCounted = 0;

  constructor(shared: H2Shared, socket: Socket, scope: PinnedScope) {
    this.#shared = shared;
    this.#scope = scope;
    this.#socket = socket;
    this.#flood = new FloodMeter(shared.limits, (why) => this.#calm(why));
    // Before the session's own listeners: after them it has forgotten what it saw. A client that has ended its side is gone.
    socket.once('close', () => this.#countMalformed()).once('end', () => socket.destroy());
    socket.on('error', () => socket.destroy());
    this.#session = performServerHandshake(socket, sessionOptions(shared));
    this.#listen(this.#session);
  }

  tick(now: number): void {
    const { core, limits } = this.#shared;
    this.#countMalformed();
    for (const open of this.#streams.values()) this.#credit(open);
    const { bytesRead: read, bytesWritten: written } = this.#socket;
    const idleBytes = this.#use.take(now, limits.windowMs, { read, written });
    if (idleBytes > 0) this.#flood.note('idleBytes', idleBytes);
    if (this.#closingSince !== undefined) {
      if (now - this.#closingSince > core.limits.lingerMs) this.destroy();
      return;
    }
    for (const [stream, open] of this.#streams) this.#tickStream(now, stream, open);
    if (this.#streams.size > 0) return;
    const limit = this.#lastId === 0 ? core.limits.headMs : core.limits.idleMs;
    if (now - this.#idleSince > limit) this.#closeGently(now);
  }

  destroy(): void {
    this.#session.destroy();
    this.#socket.destroy();
  }

  #listen(session: ServerHttp2Session): void {
    session.on('stream', (stream: ServerHttp2Stream, _headers: unknown, flags: number, raw: RawHeaders) =>
      this.#onStream(stream, flags, raw),
    );
    session.on('ping', () => this.#flood.note('pings'));
    session.on('remoteSettings', () => this.#flood.note('settings'));
    session.on('error', (error) => this.#onError(error));
    session.once('close', () => {
      this.#socket.destroy();
      this.#shared.onGone(this);
    });
  }

  #onStream(stream: ServerHttp2Stream, flags: number, raw: RawHeaders): void {
    const ended = (flags & END_STREAM) !== 0;
    const watch = new EndWatch(stream, ended || stream.state.remoteClose === 1);
    stream.on('error', () => undefined);
    this.#noteId(stream.id ?? 0);
    this.#track(stream);
    if (stream.destroyed || stream.closed || this.#closingSince !== undefined) return;
    for (const text of raw) this.#use.used(text.length);
    const { target } = this.#scope;
    const head = readH2Head(raw, ended, target, this.#shared.core.limits.headBytes);
    if (!head.ok) {
      const verdict: Verdict = {
        action: 'deny',
        rule: head.rule,
        reason: `the request is refused: ${head.why}`,
      };
      return this.#refuse(stream, raw, head.status, verdict);
    }
    if (this.#shared.streams > this.#shared.limits.streamsInAll) {
      const verdict = tooMany(this.#shared.limits.streamsInAll);
      return this.#refuse(stream, raw, statusOf(verdict), verdict);
    }
    if (!isBodyOpen(head)) return this.#begin(stream, head, watch, false);
    this.#awaitBody(stream, head, watch);
  }

  #track(stream: ServerHttp2Stream): void {
    const open: OpenStream = {
      exchange: undefined,
      recorded: false,
      progress: 0,
      since: Date.now(),
      credited: 0,
    };
    this.#streams.set(stream, open);
    this.#shared.streams++;
    stream.once('close', () => {
      this.#streams.delete(stream);
      this.#shared.streams--;
      this.#idleSince = Date.now();
      this.#credit(open);
      if (open.exchange?.cut === true) return;
      if (stream.rstCode === H2_CODE.protocol) this.#onStreamReset(stream, open);
      if (stream.aborted || stream.rstCode !== H2_CODE.none) this.#flood.note('resets');
    });
  }

  /** A body may take longer than a window: what has come of it was of use already. */
  #credit(open: OpenStream): void {
    const received = open.exchange?.received ?? 0;
    this.#use.used(received - open.credited);
    open.credited = received;
  }

  /** A body that may turn out to be none is waited for: an origin must not get a whole request that is malformed in the end. */
  #awaitBody(stream: ServerHttp2Stream, head: H2Head, watch: EndWatch): void {
    let decided = false;
    const decide = (empty: boolean): void => {
      if (decided || stream.destroyed) return;
      decided = true;
      this.#begin(stream, head, watch, empty);
    };
    stream.once('data', (chunk: Buffer) => {
      if (decided) return;
      stream.pause();
      stream.unshift(chunk);
      decide(false);
    });
    stream.once('end', () => {
      if (watch.whole) decide(true);
    });
    stream.once('aborted', () => stream.destroy());
  }

  #begin(stream: ServerHttp2Stream, head: H2Head, watch: EndWatch, empty: boolean): void {
    const { core, run } = this.#shared;
    const { requests } = this.#scope.target.rule;
    const exchange = new H2Exchange({
      stream,
      head,
      watch,
      empty,
      messageBytes: requests?.limits.bodyBytes ?? core.limits.bodyBytes,
      onRefused: (verdict) => this.#record(verdict),
    });
    const open = this.#streams.get(stream);
    if (open !== undefined) open.exchange = exchange;
    run(core, this.#scope, exchange);
  }

  #refuse(stream: ServerHttp2Stream, raw: RawHeaders, status: number, verdict: Verdict): void {
    const open = this.#streams.get(stream);
    if (open !== undefined) open.recorded = true;
    const grpc = isGrpcRequest(raw);
    this.#recordUnread(verdict, { ...askedFor(raw), status: grpc ? 200 : status });
    refuseStream(stream, grpc, problemOf(status, verdict));
  }

  /** The parser found fault with a stream that came here; of one that became an exchange that exchange tells. */
  #onStreamReset(stream: ServerHttp2Stream, open: OpenStream): void {
    const verdict = malformedVerdict(stream.rstCode);
    if (open.recorded || open.exchange !== undefined) return this.#record(verdict);
    this.#recordUnread(verdict, { status: 0 });
  }

  #recordUnread(verdict: Verdict, facts: Omit<UnreadFacts, 'http'>): void {
    recordUnread(this.#shared.core, this.#scope, verdict, { http: '2', ...facts });
  }

  #record(verdict: Verdict): void {
    recordDeny(this.#shared.core, placeOf(this.#scope.entry, this.#scope.target), verdict);
  }

  #tickStream(now: number, stream: ServerHttp2Stream, open: OpenStream): void {
    const { stallMs, upstreamIdleMs } = this.#shared.core.limits;
    const progress = open.exchange?.progress ?? 0;
    if (progress !== open.progress) Object.assign(open, { progress, since: now });
    const limit = open.exchange?.waitsForClient === false ? upstreamIdleMs : stallMs;
    if (now - open.since <= limit) return;
    if (open.exchange === undefined) stream.destroy(new Error('no body in time'));
    else open.exchange.expire();
  }

  /** Streams that Node's parser reset by itself leave no trace but their number. */
  #countMalformed(): void {
    const last = this.#session.destroyed ? 0 : (this.#session.state.lastProcStreamID ?? 0);
    if (last > Math.max(this.#lastId, this.#lastCounted)) this.#noteMalformed(last);
  }

  #noteId(id: number): void {
    // Some clients leave numbers out before their first request, none after it.
    const previous = Math.max(this.#lastId, this.#lastCounted);
    if (previous > 0 && id > previous + 2) this.#noteMalformed(id - 2);
    this.#lastId = id;
  }

  #noteMalformed(last: number): void {
    const previous = Math.max(this.#lastId, this.#lastCounted);
    this.#lastCounted = last;
    const count = previous === 0 ? 1 : (last - previous) / 2;
    // Numbers may be left out by the thousand: what is over the limit of a window ends the connection anyway.
    const more = Math.min(Math.ceil(count), this.#shared.limits.malformed) - 1;
    this.#recordUnread(malformedVerdict(), { status: 0, ...(more > 0 ? { repeats: more } : {}) });
    this.#flood.note('malformed', count);
  }

  /** Node ends a session that breaks the protocol or floods it. Its messages are fixed texts, nothing of the client's. */
  #onError(error: Error): void {
    if (this.#closingSince !== undefined) return;
    this.#closingSince = Date.now();
    const code = 'code' in error ? String(error.code) : '';
    if (!code.startsWith('ERR_HTTP2')) return;
    const reason = `the connection is closed: it is not HTTP/2 (${error.message})`;
    const verdict: Verdict = { action: 'deny', rule: 'structural.malformed', reason };
    // The parser's own errors are about a frame that would have been a request or part of one; the others are how sessions end.
    if (code === 'ERR_HTTP2_ERROR') this.#recordUnread(verdict, { status: 0 });
    else this.#record(verdict);
  }

  /** RFC 9113 §10.5. */
  #calm(why: string): void {
    this.#record({
      action: 'deny',
      rule: 'structural.http2-flood',
      reason: `the connection is closed: ${why}`,
    });
    this.#closingSince ??= Date.now();
    // Not in this turn: streams that were announced have no listener for the error yet. Without an error the code would be NO_ERROR.
    setImmediate(() => this.#session.destroy(new Error(why), H2_CODE.enhanceYourCalm));
  }

  #closeGently(now: number): void {
    this.#closingSince = now;
    if (!this.#session.closed) this.#session.close();
  }
}

/** True when the head says there is a body and the first frame may show that there is none, or more than there may be. */
function isBodyOpen(head: H2Head): boolean {
  if (head.body.kind === 'length') return head.body.bytes === 0;
  return head.body.kind === 'chunked' && BODILESS.has(head.method);
}

function sessionOptions({ core, limits }: H2Shared): Parameters<typeof performServerHandshake>[1] {
  return {
    maxSessionMemory: limits.sessionMegabytes,
    maxHeaderListPairs: NODE_HEADER_PAIRS,
    maxSessionInvalidFrames: limits.malformed,
    maxSessionRejectedStreams: limits.malformed,
    settings: {
      enablePush: false,
      enableConnectProtocol: false,
      maxConcurrentStreams: limits.streams,
      initialWindowSize: limits.clientWindow,
      maxHeaderListSize: core.limits.headBytes,
    },
  };
}

/** What a head that is refused asked for, as far as it says. */
function askedFor(raw: RawHeaders): { readonly method?: string; readonly path?: string } {
  const valueOf = (name: string): string | undefined => {
    const at = raw.findIndex((text, i) => i % 2 === 0 && text === name);
    return at < 0 ? undefined : raw[at + 1];
  };
  const method = valueOf(':method');
  const path = valueOf(':path');
  return { ...(method === undefined ? {} : { method }), ...(path === undefined ? {} : { path }) };
}

/** `code`: with which the stream was reset, where it is known (RFC 9113 §7). */
function malformedVerdict(code?: number): Verdict {
  const how = code === undefined ? '' : `, reset with error code ${code}`;
  const reason = `the request is refused: a malformed HTTP/2 head or body (RFC 9113 §8.1.1)${how}`;
  return { action: 'deny', rule: 'structural.malformed', reason };
}

function tooMany(limit: number): Verdict {
  return {
    action: 'deny',
    rule: 'structural.too-many-connections',
    reason: `over ${limit} requests at once`,
  };
}

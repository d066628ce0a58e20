import { once } from 'node:events';
import { createServer as createH2Server, connect as connectH2 } from 'node:http2';
import type {
  ClientHttp2Session,
  ClientHttp2Stream,
  Http2Server,
  IncomingHttpHeaders,
  ServerHttp2Session,
  ServerHttp2Stream,
} from 'node:http2';
import type { Socket } from 'node:net';
import { connect as connectTls, createServer as createTlsServer } from 'node:tls';
import type { TLSSocket } from 'node:tls';
import type { GatewayCore } from '../../src/gateway/core.ts';
import { Budgets } from '../../src/gateway/budgets.ts';
import type { NetworkEvent, RequestRecord, Verdict } from '../../src/gateway/contract.ts';
import { createH2Front } from '../../src/gateway/http/h2-front.ts';
import type { RunExchange } from '../../src/gateway/http/h2-connection.ts';
import { needsHttp2 } from '../../src/gateway/http/h2-grpc.ts';
import { H2_LIMITS } from '../../src/gateway/http/h2-limits.ts';
import type { H2Limits } from '../../src/gateway/http/h2-limits.ts';
import { openH2 } from '../../src/gateway/http/h2-upstream.ts';
import type { ClientExchange, UpstreamConnection, UpstreamSession } from '../../src/gateway/http/contract.ts';
import { GATEWAY_LIMITS } from '../../src/gateway/limits.ts';
import type { GatewayLimits } from '../../src/gateway/limits.ts';
import { failureOf, problemOf } from '../../src/gateway/problem.ts';
import { createAuthority } from '../../src/gateway/tls/authority.ts';
import type { CertificateAuthority } from '../../src/gateway/tls/contract.ts';
import { forwardedHeaders, responseHeaders } from '../../src/net/http-head.ts';
import { policy, portOf, sleep } from './kit.ts';
import { allowed, readRule } from './tls-kit.ts';

export const HOST = 'api.allowed.test';

/** One certificate authority signs the gateway's leaves and the origins'. */
export function newAuthority(): CertificateAuthority {
  return createAuthority({ sandbox: 'h2-test' });
}

export interface FrontBench {
  readonly port: number;
  readonly events: NetworkEvent[];
  readonly requests: RequestRecord[];
  /** Server ends of live client connections. */
  readonly sockets: Set<Socket>;
  readonly exchanges: ClientExchange[];
  /** From here on the time limits are the usual ones: what a loaded machine delays is then not cut. */
  relax(): void;
  close(): Promise<void>;
}

export interface FrontBenchOptions {
  readonly authority: CertificateAuthority;
  readonly run: RunExchange;
  readonly limits?: Partial<GatewayLimits>;
  readonly h2?: Partial<H2Limits>;
}

/** The HTTP/2 front behind real TLS, with an exchange of the test's making in place of rules and pool. */
export async function startFront(options: FrontBenchOptions): Promise<FrontBench> {
  const events: NetworkEvent[] = [];
  const exchanges: ClientExchange[] = [];
  const sockets = new Set<Socket>();
  const requests: RequestRecord[] = [];
  const core = {
    limits: { ...GATEWAY_LIMITS, ...options.limits },
    events: { record: (event: NetworkEvent) => events.push(event) },
    budgets: new Budgets(policy([])),
    onRequest: (record: RequestRecord) => requests.push(record),
  } as unknown as GatewayCore;
  const run: RunExchange = (own, scope, exchange) => {
    exchanges.push(exchange);
    options.run(own, scope, exchange);
  };
  const front = createH2Front(core, { run, ...(options.h2 === undefined ? {} : { limits: options.h2 }) });
  const target = allowed(readRule(HOST));
  const server = createTlsServer(
    { SNICallback: (name, done) => done(null, options.authority.contextFor(name)), ALPNProtocols: ['h2'] },
    (socket) => {
      sockets.add(socket);
      socket.on('close', () => sockets.delete(socket));
      front.serve(socket, { kind: 'pinned', entry: 'http-proxy', target, secure: true });
    },
  );
  server.on('tlsClientError', () => undefined);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const close = async (): Promise<void> => {
    front.close();
    for (const socket of sockets) socket.destroy();
    server.close();
    await once(server, 'close');
  };
  const relax = (): void => void Object.assign(core.limits, GATEWAY_LIMITS);
  return { port: portOf(server), events, requests, sockets, exchanges, relax, close };
}

/** A verified TLS connection. */
export async function dialTls(
  authority: CertificateAuthority,
  port: number,
  alpn = ['h2'],
): Promise<TLSSocket> {
  const socket = connectTls({
    port,
    host: '127.0.0.1',
    servername: HOST,
    ca: authority.pem,
    ALPNProtocols: alpn,
  });
  await once(socket, 'secureConnect');
  return socket;
}

/** Node's own client, as a program in the sandbox would use it. */
export async function h2Client(authority: CertificateAuthority, port: number): Promise<ClientHttp2Session> {
  const socket = await dialTls(authority, port);
  const session = connectH2(`https://${HOST}`, { createConnection: () => socket });
  session.on('error', () => undefined);
  return session;
}

export interface H2Origin {
  readonly port: number;
  readonly sessions: Set<ServerHttp2Session>;
  readonly streams: {
    readonly stream: ServerHttp2Stream;
    readonly session: object | undefined;
    readonly headers: IncomingHttpHeaders;
    readonly raw: string[];
  }[];
  close(): Promise<void>;
}

/** An origin on Node's HTTP/2 over real TLS. */
export async function startH2Origin(
  authority: CertificateAuthority,
  onStream: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void,
  settings: { readonly maxConcurrentStreams?: number } = {},
): Promise<H2Origin> {
  const sessions = new Set<ServerHttp2Session>();
  const streams: H2Origin['streams'] = [];
  // A body that waits in one piece counts as the session's memory; over it Node refuses other streams.
  const h2: Http2Server = createH2Server({ settings, maxSessionMemory: 100 });
  h2.on('session', (session) => {
    sessions.add(session);
    session.on('close', () => sessions.delete(session)).on('error', () => undefined);
  });
  h2.on('stream', (stream, headers, _flags, raw?: string[]) => {
    stream.on('error', () => undefined);
    streams.push({ stream, session: stream.session, headers, raw: raw ?? [] });
    onStream(stream, headers);
  });
  const server = createTlsServer(
    { SNICallback: (name, done) => done(null, authority.contextFor(name)), ALPNProtocols: ['h2'] },
    (socket) => void h2.emit('connection', socket),
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const close = async (): Promise<void> => {
    for (const session of sessions) session.destroy();
    server.close();
    await once(server, 'close');
  };
  return { port: portOf(server), sessions, streams, close };
}

/** A pool of one HTTP/2 connection, for tests without the gateway's own pool. */
export class OnePool {
  readonly #authority: CertificateAuthority;
  readonly #port: number;
  readonly #limits: H2Limits;
  readonly #idleMs: number;
  #session: Promise<UpstreamSession> | undefined;
  readonly sockets: Socket[] = [];

  constructor(
    authority: CertificateAuthority,
    port: number,
    options: { readonly h2?: Partial<H2Limits>; readonly idleMs?: number } = {},
  ) {
    this.#authority = authority;
    this.#port = port;
    this.#limits = { ...H2_LIMITS, ...options.h2 };
    this.#idleMs = options.idleMs ?? 30_000;
  }

  readonly acquire = async (): Promise<UpstreamConnection> => {
    for (;;) {
      const session = (this.#session ??= this.#dial());
      const stream = (await session).open();
      if (stream !== undefined) return stream;
      if (this.#session === session) this.#session = undefined;
      await sleep(1);
    }
  };

  async session(): Promise<UpstreamSession> {
    return (this.#session ??= this.#dial());
  }

  close(): void {
    for (const socket of this.sockets) socket.destroy();
  }

  async #dial(): Promise<UpstreamSession> {
    const socket = await dialTls(this.#authority, this.#port);
    this.sockets.push(socket);
    const target = allowed(readRule(HOST));
    return openH2({ poolIdleMs: this.#idleMs }, this.#limits)(socket, '127.0.0.1', target, () => undefined);
  }
}

/** What the gateway's own exchange does, without rules: request over, answer back. */
export function relay(
  acquire: () => Promise<UpstreamConnection>,
  judge: (exchange: ClientExchange) => Verdict | undefined = () => undefined,
): RunExchange {
  return (_core, _scope, exchange) => void relayOne(acquire, judge, exchange);
}

async function relayOne(
  acquire: () => Promise<UpstreamConnection>,
  judge: (exchange: ClientExchange) => Verdict | undefined,
  exchange: ClientExchange,
): Promise<void> {
  const denied = judge(exchange);
  if (denied !== undefined) return exchange.answer(problemOf(403, denied));
  const way: { gone: boolean; connection?: UpstreamConnection } = { gone: false };
  exchange.onClose((complete) => {
    way.gone = true;
    if (!complete) way.connection?.abort();
  });
  const connection = await acquire().catch(() => undefined);
  if (connection === undefined) return exchange.answer(failureOf(502, 'no way to the origin'));
  if (way.gone) return connection.release();
  way.connection = connection;
  const { request, source } = exchange;
  if (needsHttp2(request) && connection.http !== '2') {
    connection.release();
    return exchange.answer(failureOf(502, 'gRPC needs HTTP/2'));
  }
  const sink = connection.send(
    { ...request, headers: forwardedHeaders(request.headers, HOST) },
    {
      response: (head, body) => {
        const out = exchange.respond(
          { status: head.status, headers: responseHeaders(head.headers, head.status) },
          body !== undefined,
        );
        body?.pipe(out);
      },
      failed: (why) => exchange.answer(failureOf(502, why)),
    },
  );
  if (sink !== undefined) source?.pipe(sink);
}

export interface Reply {
  readonly headers: IncomingHttpHeaders & { ':status'?: number | undefined };
  readonly trailers: IncomingHttpHeaders | undefined;
  readonly body: Buffer;
  /** RST_STREAM's code; 0 for an answer that ended by itself. */
  readonly code: number;
  readonly ended: boolean;
}

/** Reads one answer to its end. */
export async function readReply(stream: ClientHttp2Stream): Promise<Reply> {
  let headers: Reply['headers'] = {};
  let trailers: IncomingHttpHeaders | undefined;
  const chunks: Buffer[] = [];
  let ended = false;
  stream.on('response', (given) => (headers = given));
  stream.on('trailers', (given) => (trailers = given));
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  stream.on('end', () => (ended = stream.rstCode === 0));
  stream.on('error', () => undefined);
  await new Promise((resolve) => stream.once('close', resolve));
  return { headers, trailers, body: Buffer.concat(chunks), code: stream.rstCode ?? 0, ended };
}

/** One gRPC message with its prefix. */
export function grpcMessage(text: string | Buffer, flag = 0): Buffer {
  const bytes = Buffer.from(text);
  const head = Buffer.alloc(5);
  head[0] = flag;
  head.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([head, bytes]);
}

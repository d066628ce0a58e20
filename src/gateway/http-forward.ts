import { request as httpRequest } from 'node:http';
import type { ClientRequest, IncomingMessage, ServerResponse } from 'node:http';
import { requestHeaders, responseHeaders } from '../net/http-head.ts';
import type { HeadFacts } from '../net/http-head.ts';
import type { Verdict } from './contract.ts';
import { placeOf, recordDeny } from './core.ts';
import type { Entry, GatewayCore } from './core.ts';
import type { Allowed } from './decide.ts';
import { UpstreamDenied } from './http-pool.ts';
import type { PinnedAgent, PooledRequest } from './http-pool.ts';
import { failureOf, problemOf, statusOf } from './problem.ts';
import type { Problem } from './problem.ts';

/** Interim responses of one request; 103 and repeated 100 are not relayed, a flood ends the exchange (RFC 9110 §15.2). */
const INTERIM_MAX = 8;

/** A request that can be answered by the gateway itself. */
export interface Answerable {
  readonly core: GatewayCore;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

/** One judged request on its way. */
export interface Exchange extends Answerable {
  readonly agent: PinnedAgent;
  readonly entry: Entry;
  readonly target: Allowed;
  readonly path: string;
  readonly facts: HeadFacts;
  /** The client waits for 100 before it sends the body. */
  readonly expectsContinue: boolean;
  /** Records "allowed" with the vetted address, once a connection. */
  readonly onAllowed: (address: string | undefined) => void;
}

/** Sends the request on, rebuilt from its checked parts, and the answer back. */
export function forward(exchange: Exchange): void {
  const state = { answered: false };
  const upstream = openRequest(
    exchange,
    requestHeaders(exchange.request.rawHeaders, exchange.facts, exchange.target.host, exchange.target.port),
  );
  const { request, response } = exchange;
  guardInterim(upstream);
  upstream.on('socket', (socket) => {
    exchange.onAllowed(exchange.agent.addressOf(socket));
    // Only now: the destination is vetted and connected, so a refusal never follows a 100.
    if (exchange.expectsContinue) response.writeContinue();
  });
  upstream.on('response', (answer) => {
    state.answered = true;
    relay(exchange, answer);
  });
  upstream.on('error', (error) => {
    if (response.writableEnded) return;
    if (state.answered) return void response.destroy();
    state.answered = true;
    if (!canRetry(exchange, upstream, error)) return fail(exchange, error);
    forward(exchange);
  });
  response.once('close', () => {
    if (response.writableFinished && upstream.writableFinished) return;
    // The client left, or the origin answered without waiting for the body: Node stops sending it then (no more "drain"), so the
    // rest is read and dropped, and the connection with half a body on it is not used again.
    request.unpipe(upstream).resume();
    upstream.destroy();
  });
  const gone = (): void => {
    // A body that was cut or malformed: the origin must never take what it has for a complete request.
    if (!request.complete) upstream.destroy();
  };
  request.once('error', gone).once('close', gone);
  meterUpload(exchange, upstream);
  if (exchange.facts.body.kind === 'none') upstream.end();
  else request.pipe(upstream);
}

/** A request to the target through the pool. */
export function openRequest(
  exchange: Pick<Exchange, 'agent' | 'target' | 'path' | 'facts' | 'request'>,
  headers: string[],
): ClientRequest {
  const { request, target } = exchange;
  const method = request.method ?? 'GET';
  const options: PooledRequest = {
    agent: exchange.agent,
    method,
    path: exchange.path,
    headers: framed(method, exchange.facts, headers),
    setHost: false,
    glovebox: target,
    host: target.host,
    port: target.port,
    maxHeaderSize: 64 * 1024,
  };
  return httpRequest(options);
}

function framed(method: string, facts: HeadFacts, headers: string[]): string[] {
  const none = facts.body.kind === 'none';
  // Without this Node would announce a chunked body for methods that usually have one.
  if (none && !['GET', 'HEAD', 'OPTIONS', 'DELETE'].includes(method))
    return [...headers, 'Content-Length', '0'];
  // An origin that ignores a GET's body would read it as the next request (CL.0): such a connection is used once.
  if (!none && (method === 'GET' || method === 'HEAD')) return [...headers, 'Connection', 'close'];
  return headers;
}

function guardInterim(upstream: ClientRequest): void {
  let seen = 0;
  upstream.on('information', () => {
    if (++seen > INTERIM_MAX) upstream.destroy(new Error('too many interim responses'));
  });
}

function relay(exchange: Exchange, answer: IncomingMessage): void {
  const { core, target, response } = exchange;
  // A refusal of the body may have been answered already, while the origin did not wait for all of it.
  if (response.headersSent || response.destroyed) return void answer.destroy();
  const status = answer.statusCode ?? 0;
  // Node refuses to write such a status, and throws.
  if (status < 200 || status > 999) {
    answer.destroy();
    return void response.destroy();
  }
  answer.on('data', (chunk: Buffer) => {
    const verdict = core.budgets.take(target.rule, 'downloadBytes', chunk.length);
    if (verdict !== undefined) cut(exchange, verdict, () => answer.destroy());
  });
  response.sendDate = false;
  response.writeHead(status, responseHeaders(answer.rawHeaders, status));
  // A cut answer must not look complete. (`pipeline` says the same, for an AbortController and a DOMException a request.)
  answer.once('close', () => {
    if (!answer.complete) response.destroy();
  });
  answer.on('error', () => response.destroy());
  answer.pipe(response);
}

function meterUpload(exchange: Exchange, upstream: ClientRequest): void {
  const { core, target, request } = exchange;
  request.on('data', (chunk: Buffer) => {
    const verdict = core.budgets.take(target.rule, 'uploadBytes', chunk.length);
    if (verdict !== undefined) cut(exchange, verdict, () => upstream.destroy());
  });
}

function cut(exchange: Exchange, verdict: Verdict, stop: () => void): void {
  if (exchange.response.destroyed) return;
  // What was cut had been allowed until then.
  exchange.onAllowed(undefined);
  recordDeny(exchange.core, placeOf(exchange.entry, exchange.target), verdict);
  exchange.request.unpipe();
  stop();
  exchange.response.destroy();
}

/** A pooled connection may have been closed by the origin just then; a request without effect and body is sent once more. */
function canRetry(exchange: Exchange, upstream: ClientRequest, error: Error): boolean {
  const safe =
    ['GET', 'HEAD', 'OPTIONS'].includes(exchange.request.method ?? '') && exchange.facts.body.kind === 'none';
  const stale =
    upstream.reusedSocket && 'code' in error && (error.code === 'ECONNRESET' || error.code === 'EPIPE');
  return safe && stale && !exchange.response.destroyed;
}

function fail(exchange: Exchange, error: Error): void {
  const { core, entry, target } = exchange;
  if (error instanceof UpstreamDenied) {
    recordDeny(core, placeOf(entry, target), error.verdict);
    return answerProblem(exchange, problemOf(statusOf(error.verdict), error.verdict));
  }
  exchange.onAllowed(undefined);
  answerProblem(exchange, failureOf(502, `${target.host} port ${target.port} did not answer properly`));
}

/** Answers with a problem and ends the connection: what the client still sends belongs to a request that is over. */
export function answerProblem(exchange: Answerable, problem: Problem): void {
  const { core, request, response } = exchange;
  if (response.writableEnded) return;
  if (response.headersSent || response.destroyed) return void response.destroy();
  response.sendDate = false;
  response.writeHead(problem.status, [...problem.headers, 'Connection', 'close']);
  response.write(problem.body);
  if (request.complete) return void response.end();
  // Closing on a client that still sends makes the kernel reset, which would throw the answer away.
  const timer = setTimeout(() => response.end(), core.limits.lingerMs);
  const finish = (): void => {
    clearTimeout(timer);
    if (!response.writableEnded) response.end();
  };
  request.once('end', finish).once('close', finish);
  request.resume();
}

import { formatAuthority } from '../../net/authority.ts';
import {
  isWebSocketOpening,
  judgeHead,
  readAbsoluteTarget,
  readOriginTarget,
  tokensOf,
} from '../../net/http-head.ts';
import type { Body, HeadFacts } from '../../net/http-head.ts';
import type { Verdict } from '../contract.ts';
import { placeOf } from '../core.ts';
import type { GatewayCore, HttpScope, Place } from '../core.ts';
import type { Allowed, Decision, Denied } from '../decide.ts';
import { statusOf } from '../problem.ts';
import type { ExchangeRequest } from './contract.ts';

/** A request whose framing, host and destination are in order. */
export interface Located {
  readonly state: 'pass';
  readonly target: Allowed;
  /** Path and query as they came. */
  readonly path: string;
  readonly body: Body;
  readonly websocket: boolean;
  /** The Host line for the origin. */
  readonly authority: string;
  readonly secure: boolean;
}

export interface Refusal {
  readonly state: 'refuse';
  readonly status: number;
  readonly verdict: Verdict;
  readonly place: Place;
  /** Somebody may be asked about it; `judgeRequest` takes what comes of that. */
  readonly question?: Denied;
}

/** Judges the structure of one request; `settled` is the decision about its destination when that was asked about. Every request is judged, the hundredth on a connection like the first. */
export function judgeRequest(
  core: GatewayCore,
  request: ExchangeRequest,
  scope: HttpScope,
  settled?: Decision,
): Located | Refusal {
  const { method, headers } = request;
  const upgrade = upgradeOf(request);
  if (upgrade === 'other')
    return refuse(400, malformed('an upgrade other than a WebSocket'), scopePlace(scope));
  if (method === 'CONNECT') return refuseConnect(scope);
  const facts = judgeHead(method, request.http, headers);
  if (!facts.ok) {
    const verdict = facts.status === 405 ? forbiddenMethod(facts.why) : malformed(facts.why);
    return refuse(facts.status, verdict, scopePlace(scope));
  }
  // HTTP/2 delimits a body by its frames; a Content-Length there was held against them already.
  const body = request.http === '2' ? request.body : facts.body;
  if (upgrade === 'websocket' && body.kind !== 'none')
    return refuse(400, malformed('an upgrade with a body'), scopePlace(scope));
  const found =
    scope.kind === 'pinned'
      ? locatePinned(request, facts, scope)
      : locateProxied(core, request, facts, settled);
  if (found.state === 'refuse') return found;
  const secure = scope.kind === 'pinned' && scope.secure;
  const { target, path } = found;
  const authority = formatAuthority(target.host, target.port, secure ? 443 : 80);
  return { state: 'pass', target, path, body, websocket: upgrade === 'websocket', authority, secure };
}

/** Where a connection leads before any request has been understood. */
export function scopePlace(scope: HttpScope): Place {
  return scope.kind === 'pinned'
    ? placeOf(scope.entry, scope.target)
    : { entry: scope.entry, host: '(none)', port: 0 };
}

type Found = { readonly state: 'pass'; readonly target: Allowed; readonly path: string } | Refusal;

/** h2c would hide every later request from the checks, so WebSocket is the one upgrade there is. */
function upgradeOf({ method, http, headers }: ExchangeRequest): 'none' | 'websocket' | 'other' {
  let asked = false;
  for (let i = 0; i + 1 < headers.length; i += 2)
    if (headers[i]?.length === 7 && headers[i]?.toLowerCase() === 'upgrade') asked = true;
  if (!asked || !tokensOf(headers, 'connection').includes('upgrade')) return 'none';
  return isWebSocketOpening(method, http, headers) ? 'websocket' : 'other';
}

function refuseConnect(scope: HttpScope): Refusal {
  const verdict = malformed('CONNECT must be the first request of a connection to the proxy port');
  return refuse(scope.kind === 'pinned' ? 405 : 400, verdict, scopePlace(scope));
}

/** The connection has a destination: Host must name it, and the target is a path. */
function locatePinned(
  request: ExchangeRequest,
  facts: HeadFacts,
  scope: Extract<HttpScope, { kind: 'pinned' }>,
): Found {
  const { target } = scope;
  const place = placeOf(scope.entry, target);
  const read = readOriginTarget(request.method, request.target);
  if (!read.ok) return refuse(read.status, malformed(read.why), place);
  const samePort = facts.hostPort === undefined || facts.hostPort === target.port;
  if (facts.host.host !== target.host || !samePort) {
    const reason = `Host asks for ${facts.host.host} on a connection to ${target.host} port ${target.port}`;
    return refuse(421, { action: 'deny', rule: 'structural.host-mismatch', reason }, place);
  }
  return { state: 'pass', target, path: read.path };
}

/** A proxy request names its destination in the target; Host must agree with it, though RFC 9112 §3.2.2 would ignore it. */
function locateProxied(
  core: GatewayCore,
  request: ExchangeRequest,
  facts: HeadFacts,
  settled: Decision | undefined,
): Found {
  const entry = 'http-proxy';
  const read = readAbsoluteTarget(request.target);
  if (!read.ok) return refuse(read.status, malformed(read.why), { entry, host: '(none)', port: 0 });
  const { host, port = 80 } = read;
  if (host === undefined)
    return refuse(400, malformed('a request target without a host'), { entry, host: '(none)', port: 0 });
  const decision = settled ?? core.judge.decide(host.host, port);
  const place = placeOf(entry, decision);
  const agrees = facts.host.host === host.host && (facts.hostPort ?? port) === port;
  if (decision.action === 'deny') {
    const refusal = refuse(statusOf(decision.verdict), decision.verdict, place);
    const asks = agrees && settled === undefined && core.desk?.asksAbout(decision) === true;
    return asks ? { ...refusal, question: decision } : refusal;
  }
  if (!agrees) {
    const why = `Host asks for ${facts.host.host}, the request target for ${host.host}`;
    return refuse(400, malformed(why), place);
  }
  const { protocol } = decision.rule;
  if (protocol === 'https' || protocol === 'ssh') return refuse(403, notHttp(decision), place);
  return { state: 'pass', target: decision, path: read.path };
}

function notHttp(target: Allowed): Verdict {
  const { id, protocol } = target.rule;
  const deny = { action: 'deny', rule: 'structural.tls' } as const;
  if (protocol === 'https')
    return {
      ...deny,
      reason: `${id} wants TLS to ${target.host}, not clear text`,
      remedy: 'use https, which goes through CONNECT',
    };
  return {
    ...deny,
    rule: 'structural.protocol',
    reason: `${id} is for ${protocol}, not for HTTP`,
    remedy: `set \`protocol\` of ${id} to http, or use CONNECT`,
  };
}

function forbiddenMethod(why: string): Verdict {
  return { action: 'deny', rule: 'structural.method', reason: why };
}

/** A request, or a body, that breaks the protocol. */
export function malformed(why: string): Verdict {
  return { action: 'deny', rule: 'structural.malformed', reason: `the request is refused: ${why}` };
}

function refuse(status: number, verdict: Verdict, place: Place): Refusal {
  return { state: 'refuse', status, verdict, place };
}

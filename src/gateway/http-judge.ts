import { judgeHead, readAbsoluteTarget, readOriginTarget } from '../net/http-head.ts';
import type { HeadFacts, RawHeaders } from '../net/http-head.ts';
import type { Verdict } from './contract.ts';
import type { GatewayCore, HttpScope, Place } from './core.ts';
import { placeOf } from './core.ts';
import type { Allowed } from './decide.ts';
import { statusOf } from './problem.ts';

/** The parts of a request that decisions are made on, as they came. */
export interface RequestHead {
  readonly method: string;
  readonly target: string;
  readonly httpVersion: string;
  readonly rawHeaders: RawHeaders;
}

/** A request that may go on to `target`, or a refusal with its status. */
export type RequestVerdict =
  | { readonly state: 'pass'; readonly target: Allowed; readonly path: string; readonly facts: HeadFacts }
  | { readonly state: 'refuse'; readonly status: number; readonly verdict: Verdict; readonly place: Place };

/** Judges one request. Every request is judged, the hundredth on a connection like the first. */
export function judgeRequest(core: GatewayCore, head: RequestHead, scope: HttpScope): RequestVerdict {
  const facts = judgeHead(head.method, head.httpVersion, head.rawHeaders);
  const nowhere = scopePlace(scope);
  if (!facts.ok)
    return refuse(
      facts.status,
      facts.status === 405 ? forbiddenMethod(facts.why) : malformed(facts.why),
      nowhere,
    );
  const located =
    scope.kind === 'pinned' ? locatePinned(head, facts, scope) : locateProxied(core, head, facts);
  if (located.state === 'refuse') return located;
  const verdict = admitRequest(core, located.target, facts);
  if (verdict !== undefined)
    return refuse(verdict.status, verdict.verdict, placeOf(scope.entry, located.target));
  return { ...located, facts };
}

/** Where a connection leads before any request has been understood. */
export function scopePlace(scope: HttpScope): Place {
  return scope.kind === 'pinned'
    ? placeOf(scope.entry, scope.target)
    : { entry: scope.entry, host: '(none)', port: 0 };
}

type Located =
  | { readonly state: 'pass'; readonly target: Allowed; readonly path: string }
  | Extract<RequestVerdict, { state: 'refuse' }>;

/** The connection has a destination: Host must name it, and the target is a path. */
function locatePinned(
  head: RequestHead,
  facts: HeadFacts,
  scope: Extract<HttpScope, { kind: 'pinned' }>,
): Located {
  const { target } = scope;
  const place = placeOf(scope.entry, target);
  const read = readOriginTarget(head.method, head.target);
  if (!read.ok) return refuse(read.status, malformed(read.why), place);
  const samePort = facts.hostPort === undefined || facts.hostPort === target.port;
  if (facts.host.host !== target.host || !samePort) {
    const reason = `Host asks for ${facts.host.host} on a connection to ${target.host} port ${target.port}`;
    return refuse(421, { action: 'deny', rule: 'structural.host-mismatch', reason }, place);
  }
  return { state: 'pass', target, path: read.path };
}

/** A proxy request names its destination in the target; Host must agree with it, though RFC 9112 §3.2.2 would ignore it. */
function locateProxied(core: GatewayCore, head: RequestHead, facts: HeadFacts): Located {
  const entry = 'http-proxy';
  const read = readAbsoluteTarget(head.target);
  if (!read.ok) return refuse(read.status, malformed(read.why), { entry, host: '(none)', port: 0 });
  const { host, port = 80 } = read;
  if (host === undefined)
    return refuse(400, malformed('a request target without a host'), { entry, host: '(none)', port: 0 });
  const decision = core.judge.decide(host.host, port);
  const place = placeOf(entry, decision);
  if (decision.action === 'deny') return refuse(statusOf(decision.verdict), decision.verdict, place);
  if (facts.host.host !== host.host || (facts.hostPort ?? port) !== port) {
    return refuse(
      400,
      malformed(`Host asks for ${facts.host.host}, the request target for ${host.host}`),
      place,
    );
  }
  if (decision.rule.protocol === 'https') {
    const reason = `${decision.rule.id} wants TLS to ${decision.host}, not clear text`;
    return refuse(
      403,
      { action: 'deny', rule: 'structural.tls', reason, remedy: 'use https, which goes through CONNECT' },
      place,
    );
  }
  return { state: 'pass', target: decision, path: read.path };
}

function admitRequest(
  core: GatewayCore,
  target: Allowed,
  facts: HeadFacts,
): { status: number; verdict: Verdict } | undefined {
  const named = target.kind === 'name' ? core.nameGate.admit(target.host, target.rule) : undefined;
  if (named !== undefined) return { status: statusOf(named), verdict: named };
  const declared = facts.body.kind === 'length' ? facts.body.bytes : 0;
  const upload = core.budgets.check(target.rule, 'uploadBytes', declared);
  if (upload !== undefined) return { status: 413, verdict: upload };
  const requests = core.budgets.take(target.rule, 'requests');
  return requests === undefined ? undefined : { status: statusOf(requests), verdict: requests };
}

function forbiddenMethod(why: string): Verdict {
  return { action: 'deny', rule: 'structural.method', reason: why };
}

function malformed(why: string): Verdict {
  return { action: 'deny', rule: 'structural.malformed', reason: `the request is refused: ${why}` };
}

function refuse(
  status: number,
  verdict: Verdict,
  place: Place,
): Extract<RequestVerdict, { state: 'refuse' }> {
  return { state: 'refuse', status, verdict, place };
}

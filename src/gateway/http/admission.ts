import { forwardedHeaders } from '../../net/http-head.ts';
import type { Body } from '../../net/http-head.ts';
import type { NetworkRule } from '../../policy/contract.ts';
import type { OutgoingRequest, Verdict } from '../contract.ts';
import type { GatewayCore } from '../core.ts';
import { sourceOf } from '../decide.ts';
import { statusOf } from '../problem.ts';
import { judgeRequestRules } from '../rules/index.ts';
import type { RulesVerdict } from '../rules/index.ts';
import type { ClientExchange, ExchangeRequest } from './contract.ts';
import { tooLongProblem } from './inspect.ts';
import type { Problem } from './inspect.ts';
import type { Located } from './judge.ts';

type Passed = Extract<RulesVerdict, { state: 'pass' }>;

/** A request that its rule lets pass, as it is going to leave. */
export type Admitted =
  | (Omit<Passed, 'headers'> & { readonly outgoing: OutgoingRequest })
  /** `seen` is the request as it came, for the record. */
  | (Extract<RulesVerdict, { state: 'refuse' }> & { readonly seen: OutgoingRequest });

/** What needs no look into the request: a new name, and a body that is announced too large. */
export function earlyProblem(
  { nameGate, budgets }: Pick<GatewayCore, 'nameGate' | 'budgets'>,
  { target, body }: Located,
): Problem | undefined {
  const named = target.kind === 'name' ? nameGate.admit(target.host, target.rule) : undefined;
  if (named !== undefined) return { status: statusOf(named), verdict: named };
  const declared = body.kind === 'length' ? body.bytes : 0;
  if (declared === 0) return undefined;
  const over = budgets.check(target.rule, 'uploadBytes', declared);
  if (over !== undefined) return { status: 413, verdict: over };
  const max = target.rule.requests?.limits.bodyBytes;
  return max !== undefined && declared > max ? tooLongProblem(target.rule, max) : undefined;
}

/** Judges the head by its rule. Hop-by-hop and framing headers are gone before and after: no rule brings one back. */
export function judgeByRules(located: Located, request: ExchangeRequest): Admitted {
  const { target, path, websocket, body, authority, secure } = located;
  const { http, method } = request;
  const headers = forwardedHeaders(request.headers, authority);
  const hasBody = body.kind === 'chunked' || (body.kind === 'length' && body.bytes > 0);
  const judged = judgeRequestRules(target.rule, { http, method, target: path, headers, websocket, hasBody });
  const { rule, host, port } = target;
  const { path: shown } = judged;
  // Written out, here and below: copies by spreading cost several times as much, and this runs for every request.
  const seen = { rule, host, port, secure, method, target: path, path: shown, headers, websocket };
  if (judged.state === 'refuse') return { ...judged, seen };
  const { queryNames, needsBody, wouldDeny } = judged;
  if (rule.requests !== undefined) seen.headers = forwardedHeaders(judged.headers, authority);
  const admitted = { state: 'pass', path: shown, queryNames, needsBody, outgoing: seen } as const;
  return wouldDeny === undefined ? admitted : { ...admitted, wouldDeny };
}

/** Bytes of a head as HTTP/1 writes it: what leaves in a path or in headers is upload as a body is. */
export function headBytes({ method, target, headers }: OutgoingRequest): number {
  let bytes = method.length + target.length + ' HTTP/1.1\r\n\r\n '.length;
  for (const text of headers) bytes += text.length + 2;
  return bytes;
}

/** What is sent of a request's body: one that was held has a length, whatever it came with. */
export function framingOf(
  { source }: Pick<ClientExchange, 'source'>,
  located: Located | undefined,
  held: Buffer | undefined,
): Body {
  if (source === undefined) return { kind: 'none' };
  return held === undefined ? (located?.body ?? { kind: 'none' }) : { kind: 'length', bytes: held.length };
}

/** The whole time of one request is over. */
export function lateVerdict(rule: NetworkRule, requestMs: number): Verdict {
  const key = `${rule.id}.limits.time`;
  return {
    action: 'deny',
    rule: key,
    reason: `the request took over ${requestMs} ms`,
    source: sourceOf(rule.origin),
    remedy: `raise ${key} in the policy`,
  };
}

import type { NetworkRule } from '../../policy/contract.ts';
import type { ContentScanner, OutgoingRequest, ScanFinding, Scanned, Verdict } from '../contract.ts';
import type { WsMessage } from '../../net/ws-frames-message.ts';
import type { GatewayCore } from '../core.ts';
import { sourceOf } from '../decide.ts';
import { judgeBodyRules, judgeMessageRules } from '../rules/index.ts';
import type { Notes } from './record.ts';

/** Findings that one record lists. */
const FINDINGS_MAX = 16;

/** Why a request ends here, with the status that says it best. */
export interface Problem {
  readonly status: number;
  readonly verdict: Verdict;
}

/** True for the requests that are scanned: all that are read, or those whose rule says so. */
export function isScanned(scanner: ContentScanner, rule: NetworkRule): boolean {
  return scanner.everywhere || rule.requests?.dlp === true;
}

/** Scans name and head; a finding that is only observed is noted. */
export function headProblem(
  scanner: ContentScanner,
  request: OutgoingRequest,
  notes: Notes,
): Problem | undefined {
  return found(scanner, request.rule, scanner.name(request.host) ?? scanner.head(request), notes);
}

/** Why a request ends here; a promise while another thread looks for it. Never rejected. */
export type Judged = Problem | undefined | Promise<Problem | undefined>;

/** Judges a whole body: by its rule, then by the scanner. */
export function bodyProblem(
  core: Pick<GatewayCore, 'scanner'>,
  facts: {
    readonly request: OutgoingRequest & { readonly body: Buffer };
    readonly http: '1.0' | '1.1' | '2';
    readonly rules: boolean;
  },
  notes: Notes,
): Judged {
  const { request, http, rules } = facts;
  const { rule, body, headers } = request;
  if (rules && rule.requests !== undefined) {
    const { method, target, path, websocket } = request;
    const head = { http, method, target, headers, websocket, hasBody: true, path };
    const judged = judgeBodyRules(rule, head, body);
    notes.wouldDeny ??= judged.wouldDeny;
    if (judged.refuse !== undefined) return { status: judged.status ?? 403, verdict: judged.refuse };
  }
  const { scanner } = core;
  if (scanner === undefined || !isScanned(scanner, rule)) return undefined;
  if (body.length <= scanner.maxInspectBytes)
    return afterScan(scanner, rule, scanner.body(body, headers), notes);
  return scanner.uninspectable === 'deny' && enforces(scanner, rule)
    ? unscannedProblem(rule, scanner.maxInspectBytes)
    : undefined;
}

/** True where messages of a client are read: their rule looks into them, or into bodies, which they would else go round. */
export function readsMessages({ requests }: NetworkRule): boolean {
  if (requests === undefined) return false;
  const { websocket, json, mcp, graphql } = requests;
  return websocket === 'inspect' || json !== undefined || mcp !== undefined || graphql !== undefined;
}

/** Judges one WebSocket message of the client, or the payload of a control frame: for secrets, by its rule, then by the scanner. */
export function messageProblem(
  { broker, scanner }: Pick<GatewayCore, 'broker' | 'scanner'>,
  request: OutgoingRequest,
  { kind, data }: Pick<WsMessage, 'kind' | 'data'>,
  notes: Notes,
): Judged {
  const { rule } = request;
  if (!readsMessages(rule)) return undefined;
  const watch = broker?.watchBody(request);
  const leak = watch?.update(data) ?? watch?.end();
  if (leak !== undefined) {
    notes.alarm = true;
    return { status: 403, verdict: leak };
  }
  if (kind !== 'control') {
    const { refuse, status = 403, wouldDeny } = judgeMessageRules(rule, data);
    notes.wouldDeny ??= wouldDeny;
    if (refuse !== undefined) return { status, verdict: refuse };
  }
  if (scanner === undefined || !isScanned(scanner, rule)) return undefined;
  return afterScan(scanner, rule, scanner.message(data), notes);
}

function afterScan(scanner: ContentScanner, rule: NetworkRule, scanned: Scanned, notes: Notes): Judged {
  if (!(scanned instanceof Promise)) return found(scanner, rule, scanned, notes);
  return scanned.then((finding) => found(scanner, rule, finding, notes));
}

/** A body longer than the rule allows, or than may be held for it. */
export function tooLongProblem(rule: NetworkRule, max: number): Problem {
  const key = `${rule.id}.limits.body`;
  const verdict: Verdict = {
    action: 'deny',
    rule: key,
    reason: `a request body of over ${max} bytes, or more of them at once than can be looked into`,
    source: sourceOf(rule.origin),
    remedy: `raise ${key} in the policy`,
  };
  return { status: 413, verdict };
}

/** A body longer than the scanner looks into, where what it does not see is refused. */
export function unscannedProblem(rule: NetworkRule, max: number): Problem {
  const verdict: Verdict = {
    action: 'deny',
    rule: 'network.dlp',
    reason: `a request body of over ${max} bytes, or more of them at once, which ${rule.id} would have to look into`,
    remedy: 'raise network.dlp.maxInspect in the policy, or set `uninspectable: allow` there',
  };
  return { status: 413, verdict };
}

function found(
  scanner: ContentScanner,
  rule: NetworkRule,
  finding: ScanFinding | undefined,
  notes: Notes,
): Problem | undefined {
  if (finding === undefined) return undefined;
  // A connection that goes on may find the same again and again.
  if (notes.findings.length < FINDINGS_MAX) notes.findings.push(finding);
  // The policy lets through what cannot be looked into; what should have been and was not (`unscanned:…`) is another thing.
  if (finding.kind.startsWith('uninspectable:') && scanner.uninspectable === 'allow') return undefined;
  // What exists to be seen leaving, and what must not be inside at all, wakes somebody whoever finds it.
  if (finding.kind === 'canary' || finding.kind.startsWith('secret:')) notes.alarm = true;
  const verdict: Verdict = {
    action: 'deny',
    rule: 'network.dlp',
    reason: `${finding.kind} in the ${finding.place} of a request`,
  };
  if (enforces(scanner, rule)) return { status: 403, verdict };
  notes.wouldDeny ??= `${verdict.rule}: ${verdict.reason}`;
  return undefined;
}

/** `observe` of the rule or of the scanner lifts what the scanner finds, and nothing else. */
function enforces(scanner: ContentScanner, rule: NetworkRule): boolean {
  return scanner.action === 'deny' && rule.requests?.enforcement !== 'observe';
}

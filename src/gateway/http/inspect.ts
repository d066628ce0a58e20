import type { NetworkRule } from '../../policy/contract.ts';
import type { ContentScanner, OutgoingRequest, ScanFinding, Verdict } from '../contract.ts';
import type { GatewayCore } from '../core.ts';
import { sourceOf } from '../decide.ts';
import { judgeBodyRules } from '../rules/index.ts';
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

/** Judges a whole body: by its rule, then by the scanner. */
export function bodyProblem(
  core: Pick<GatewayCore, 'scanner'>,
  facts: {
    readonly request: OutgoingRequest & { readonly body: Buffer };
    readonly http: '1.0' | '1.1' | '2';
    readonly rules: boolean;
  },
  notes: Notes,
): Problem | undefined {
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
  if (body.length <= scanner.maxInspectBytes) return found(scanner, rule, scanner.body(body, headers), notes);
  return scanner.uninspectable === 'deny' && enforces(scanner, rule)
    ? unscannedProblem(rule, scanner.maxInspectBytes)
    : undefined;
}

/** Judges one WebSocket message of the client. */
export function messageProblem(
  { scanner }: Pick<GatewayCore, 'scanner'>,
  { rule }: OutgoingRequest,
  data: Uint8Array,
  notes: Notes,
): Problem | undefined {
  if (scanner === undefined || !isScanned(scanner, rule)) return undefined;
  return found(scanner, rule, scanner.message(data), notes);
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

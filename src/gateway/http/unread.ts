import type { RequestRecord, Verdict } from '../contract.ts';
import { recordDeny } from '../core.ts';
import type { GatewayCore, HttpScope } from '../core.ts';
import { scopePlace } from './judge.ts';
import { unreadRecord } from './record.ts';

/** What is known of a request whose head could not be read, or was refused before an exchange began. */
export type UnreadFacts = Pick<RequestRecord, 'http' | 'status'> &
  Partial<Pick<RequestRecord, 'method' | 'path' | 'repeats'>>;

/** Records the refusal of a head: it is a request too, and counts as a refused one, though no exchange ever stands for it. */
export function recordUnread(
  core: GatewayCore,
  scope: HttpScope,
  verdict: Verdict,
  facts: UnreadFacts,
): void {
  const place = scopePlace(scope);
  recordDeny(core, place, verdict);
  core.budgets.countRefused(scope.kind === 'pinned' ? scope.target.rule : undefined);
  core.onRequest?.(unreadRecord(place, verdict, facts));
}

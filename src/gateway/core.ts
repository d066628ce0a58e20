import type { Socket } from 'node:net';
import type { Budgets } from './budgets.ts';
import type { ConnectionSummary, NetworkEvent, Verdict } from './contract.ts';
import type { Allowed, Decision, Judge } from './decide.ts';
import type { EventLog } from './event-log.ts';
import type { Ledger } from './ledger.ts';
import type { GatewayLimits } from './limits.ts';
import type { NameGate } from './name-gate.ts';
import type { SyntheticNames } from './synthetic.ts';
import type { Meter } from './tunnel.ts';
import type { Upstream } from './upstream.ts';

export type Entry = NetworkEvent['entry'];

/** Serves HTTP on a connection whose destination is one name (`pinned`), or named request by request (`proxy`). */
export type HttpScope =
  | { readonly kind: 'pinned'; readonly entry: Entry; readonly target: Allowed }
  | { readonly kind: 'proxy'; readonly entry: 'http-proxy' };

/** The HTTP half, loaded on first use: `node:http` is not needed by a sandbox that speaks TLS only. */
export interface HttpFront {
  serve(socket: Socket, scope: HttpScope): void;
  close(): void;
}

/** What the parts of one gateway share. */
export interface GatewayCore {
  readonly limits: GatewayLimits;
  readonly judge: Judge;
  readonly budgets: Budgets;
  readonly names: SyntheticNames;
  readonly nameGate: NameGate;
  readonly events: EventLog;
  readonly upstream: Upstream;
  readonly ledger: Ledger;
  readonly http: () => Promise<HttpFront>;
}

/** A destination as records name it. */
export interface Place {
  readonly entry: Entry;
  readonly host: string;
  readonly port: number;
}

/** Records a refusal. */
export function recordDeny(core: GatewayCore, place: Place, verdict: Verdict): void {
  core.events.record({ ...fromVerdict(verdict), ...only(place) });
}

/** Records that a connection may go on, with the vetted address when it came to that. */
export function recordAllow(core: GatewayCore, entry: Entry, target: Allowed, address?: string): void {
  core.events.record({
    ...fromVerdict(target.verdict),
    entry,
    host: target.host,
    port: target.port,
    protocol: target.rule.protocol,
    ...(address === undefined ? {} : { address }),
  });
}

/** Where a decision points, for records. */
export function placeOf(entry: Entry, decision: Decision): Place {
  return { entry, host: decision.host, port: decision.port };
}

/** Counts a tunnel's bytes against the budgets. */
export function meterFor(core: GatewayCore, target: Allowed): Meter {
  return {
    up: (bytes) => core.budgets.take(target.rule, 'uploadBytes', bytes),
    down: (bytes) => core.budgets.take(target.rule, 'downloadBytes', bytes),
  };
}

/** The record of an upstream connection. */
export function summaryOf(
  target: Allowed,
  startedAt: number,
  result: Pick<ConnectionSummary, 'upBytes' | 'downBytes' | 'end'>,
): ConnectionSummary {
  const { upBytes, downBytes, end } = result;
  return {
    host: target.host,
    port: target.port,
    rule: target.rule.id,
    upBytes,
    downBytes,
    durationMs: Date.now() - startedAt,
    end,
  };
}

/** The record of a connection that an allowed destination did not take. */
export function failedSummary(target: Allowed, startedAt: number): ConnectionSummary {
  return summaryOf(target, startedAt, { upBytes: 0, downBytes: 0, end: 'error' });
}

function fromVerdict(
  verdict: Verdict,
): Pick<NetworkEvent, 'action' | 'rule' | 'reason' | 'source' | 'remedy'> {
  const { action, rule, reason, source, remedy } = verdict;
  return {
    action,
    rule,
    reason,
    ...(source === undefined ? {} : { source }),
    ...(remedy === undefined ? {} : { remedy }),
  };
}

function only(place: Place): Place {
  return { entry: place.entry, host: place.host, port: place.port };
}

import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { AskDesk } from './ask.ts';
import type { Bearers } from './bearers.ts';
import type { Budgets } from './budgets.ts';
import type {
  ConnectionSummary,
  ContentScanner,
  CredentialBroker,
  NetworkEvent,
  RequestRecord,
  Verdict,
} from './contract.ts';
import type { Allowed, Decision, Judge } from './decide.ts';
import type { EventLog } from './event-log.ts';
import type { Flows } from './flows.ts';
import type { AllowedOnce } from './http/allowed.ts';
import type { OpenSession, OriginPool } from './http/contract.ts';
import type { HeldBytes } from './http/held-body.ts';
import type { Ledger } from './ledger.ts';
import type { GatewayLimits } from './limits.ts';
import type { NameGate } from './name-gate.ts';
import type { SyntheticNames } from './synthetic.ts';
import type { TlsHalf } from './tls/contract.ts';
import type { Meter } from './tunnel.ts';
import type { Upstream } from './upstream.ts';

export type Entry = NetworkEvent['entry'];

/**
 * Serves HTTP on a connection whose destination is one name (`pinned`), or named request by request (`proxy`).
 * One object a connection: what was recorded as allowed on it is remembered by it.
 */
export type HttpScope =
  | {
      readonly kind: 'pinned';
      readonly entry: Entry;
      readonly target: Allowed;
      /** The client's TLS ends here, and the origin is spoken to in TLS. */
      readonly secure: boolean;
    }
  | { readonly kind: 'proxy'; readonly entry: 'http-proxy' };

/** The HTTP half, loaded on first use. */
export interface HttpFront {
  serve(socket: Socket, scope: HttpScope): void;
  close(): void;
}

/** HTTP/2 inside terminated TLS, loaded when a client first chooses it: `createH2Front(core)` of `http/h2-front.ts`. */
export interface H2Front {
  serve(socket: TLSSocket, scope: Extract<HttpScope, { kind: 'pinned' }>): void;
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
  readonly h2: () => Promise<H2Front>;
  readonly tls: () => Promise<TlsHalf>;
  readonly pool: OriginPool;
  /** Everything under way to an allowed destination. */
  readonly flows: Flows;
  /** What of it carries a credential. */
  readonly bearers: Bearers;
  readonly allowed: AllowedOnce;
  /** Room for bodies that are held back until they were looked at. */
  readonly held: HeldBytes;
  /** Where hosts that no rule knows are asked about; undefined when there is nobody to ask. */
  readonly desk?: AskDesk;
  /** Takes the record of a request; undefined when nobody wants one. */
  readonly onRequest?: (record: RequestRecord) => void;
  readonly broker?: CredentialBroker;
  /** Replaced with the policy: to be read anew for each thing that is looked at. */
  readonly scanner?: ContentScanner | undefined;
  /** HTTP/2 to origins; without it HTTP/1.1 is all that is offered. */
  readonly openSession?: () => Promise<OpenSession>;
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

import type { Server, Socket } from 'node:net';
import type { RawHeaders } from '../net/http-head.ts';
import type { NetworkPolicy, NetworkProtocol, NetworkRule } from '../policy/contract.ts';
import type { GatewayLimits } from './limits.ts';
import type { CertificateAuthority, RootStore } from './tls/contract.ts';

/** A listening socket that the airlock opened inside the sandbox's network namespace. */
export interface ListenerSpec {
  /** Index in the plan's list, so that the handed-over socket is recognised. */
  readonly id: number;
  readonly transport: 'tcp' | 'udp';
  readonly port: number;
  /**
   * dns: the gateway's name server. http-proxy and socks: for programs that insist on a proxy.
   * transparent: connections to any address; the name is known from the synthetic address.
   * sentinel: a port that no rule names, listened on so that the attempt is refused with a record.
   */
  readonly role: 'dns' | 'http-proxy' | 'socks' | 'transparent' | 'sentinel';
}

export type VerdictAction = 'allow' | 'deny';

/** One decision of the gateway; every one leaves a record. */
export interface Verdict {
  readonly action: VerdictAction;
  /** Rule id (`network.allow[2]`), or a structural one such as `structural.metadata`, `default.deny`. */
  readonly rule: string;
  /** One sentence a person understands. */
  readonly reason: string;
  /** file:line of the rule where there is one. */
  readonly source?: string;
  /** How the reader allows it: the exact flag and policy line; absent for denials that nothing lifts. */
  readonly remedy?: string;
  /** Where the method is what is refused: those that would do, for the Allow line of the answer. */
  readonly methods?: readonly string[];
}

/** A verdict with what it was about; given to the sink as it happens. */
export interface NetworkEvent {
  readonly action: VerdictAction;
  readonly rule: string;
  readonly reason: string;
  readonly source?: string;
  readonly entry: 'dns' | 'http-proxy' | 'socks' | 'transparent' | 'sentinel';
  readonly host: string;
  readonly port: number;
  readonly protocol?: NetworkProtocol;
  /** The vetted address that was dialled, when it came to that. */
  readonly address?: string;
  /** How the reader allows it: the exact flag or policy line; absent for structural denials. */
  readonly remedy?: string;
  /** This many more of the same refusal since its last record; absent on a first record. */
  readonly repeats?: number;
}

/** A finished connection, with its bytes. */
export interface ConnectionSummary {
  readonly host: string;
  readonly port: number;
  readonly rule: string;
  readonly upBytes: number;
  readonly downBytes: number;
  readonly durationMs: number;
  readonly end: 'closed' | 'reset' | 'budget' | 'error' | 'shutdown';
  /** This many more like it are in the sums; absent on a record of one. */
  readonly repeats?: number;
}

/** One request that the gateway read: who was asked for what, what came of it. Never a value of a header, query or body. */
export interface RequestRecord {
  readonly action: 'allow' | 'deny';
  /** Set when the rule only observes: what it would have refused. */
  readonly wouldDeny?: string;
  readonly rule: string;
  readonly reason: string;
  readonly entry: NetworkEvent['entry'];
  readonly host: string;
  readonly port: number;
  readonly http: '1.0' | '1.1' | '2';
  readonly method: string;
  /** Printable, at most 1 KiB, without the query. */
  readonly path: string;
  readonly queryNames: readonly string[];
  /** What the client got; 0 when the connection ended before an answer. */
  readonly status: number;
  readonly upBytes: number;
  readonly downBytes: number;
  readonly durationMs: number;
  /** Name of the credential that was put in. */
  readonly credential?: string;
  readonly pin?: PinState;
  /** Keyed hash of a foreign credential: the same one can be told again, its value cannot be learnt. */
  readonly foreign?: string;
  readonly dlp?: readonly ScanFinding[];
  /** A secret or placeholder where it must not be: worth waking somebody. */
  readonly alarm?: true;
  /** This many more like it, to any path, are in the sums; absent on a record of one. */
  readonly repeats?: number;
}

export type PinState = 'ok' | 'absent' | 'missing' | 'foreign' | 'multiple' | 'misplaced';

/** A request that is about to leave, already judged by its rule: what the broker and the scanner look at. */
export interface OutgoingRequest {
  readonly rule: NetworkRule;
  /** Canonical. */
  readonly host: string;
  readonly port: number;
  /** False: it would leave in clear text, so no secret may go with it. */
  readonly secure: boolean;
  readonly method: string;
  /** Path and query as they came. */
  readonly target: string;
  /** Canonical path, without the query. */
  readonly path: string;
  /** As they came, hop-by-hop ones gone; names in any case. */
  readonly headers: RawHeaders;
  readonly websocket: boolean;
  /** The whole body, where `wantsBody` asked for it. */
  readonly body?: Buffer;
}

export type CredentialVerdict =
  | {
      readonly state: 'pass';
      readonly target: string;
      readonly headers: readonly string[];
      readonly body?: Buffer;
      /** Name of the credential that was put in. */
      readonly credential?: string;
      readonly pin?: PinState;
    }
  | {
      readonly state: 'refuse';
      /** 403; 502 when the source of the secret failed. */
      readonly status: 403 | 502;
      readonly verdict: Verdict;
      readonly pin?: PinState;
      readonly foreign?: string;
      readonly alarm?: true;
    };

/** Looks at a body as it passes, chunk by chunk, across their borders. The first hit is the last call. */
export interface BodyWatch {
  update(chunk: Uint8Array): Verdict | undefined;
  end(): Verdict | undefined;
}

/** Takes secrets out of one response. Holds back at most the longest spelling of a secret. */
export interface Scrubber {
  /** Answers may come in parts (206): nothing that is looked for can be cut by them. */
  readonly partsPass: boolean;
  headers(headers: RawHeaders): string[];
  update(chunk: Uint8Array): Uint8Array;
  end(): Uint8Array;
}

/** The credential broker of one sandbox; implemented in `secrets/`, joined in `sandbox/`. */
export interface CredentialBroker {
  /** True when the decision or the swap needs the whole body. */
  wantsBody(request: OutgoingRequest): boolean;
  /** True when the body is a form whose fields are judged: best before the head leaves, where it is short; else as it passes. */
  readsForm(request: OutgoingRequest): boolean;
  /** Checks the pin, refuses foreign, stray and real credentials, and puts the secret in. Called after the origin's certificate was verified. */
  authorize(request: OutgoingRequest): Promise<CredentialVerdict>;
  /** What `authorize` would refuse for the head alone; nothing is revealed. Not for a request whose body it wants. */
  check(request: OutgoingRequest): Extract<CredentialVerdict, { state: 'refuse' }> | undefined;
  /** For a body that streams through; undefined when there is nothing to look for. */
  watchBody(request: OutgoingRequest): BodyWatch | undefined;
  /** Undefined when nothing of this host has to be scrubbed. */
  scrubber(host: string, port: number): Scrubber | undefined;
}

export interface ScanFinding {
  /** Id of the pattern, such as `aws-access-key`, `canary`, `secret:NAME`, `uninspectable:depth`, `unscanned:time`. */
  readonly kind: string;
  /** `host`, `path`, `query`, `header:NAME`, `body`, `websocket`. */
  readonly place: string;
  /** Keyed hash of what was found, short. */
  readonly hash: string;
}

/** At once, or from another thread; never rejected. */
export type Scanned = ScanFinding | undefined | Promise<ScanFinding | undefined>;

/** Looks for data that must not leave; implemented in `content/`. All methods take linear time. */
export interface ContentScanner {
  readonly maxInspectBytes: number;
  readonly uninspectable: 'deny' | 'allow';
  readonly action: 'deny' | 'observe';
  readonly everywhere: boolean;
  name(host: string): ScanFinding | undefined;
  head(request: OutgoingRequest): ScanFinding | undefined;
  /** A whole body; `headers` tell its codings. */
  body(body: Uint8Array, headers: RawHeaders): Scanned;
  /** One WebSocket message. */
  message(data: Uint8Array): Scanned;
}

/** Looks for what a record must not repeat; implemented over `content/` in `sandbox/`. */
export interface RecordGuard {
  /** True when a secret of this sandbox or the shape of a token is in there, in any coding. */
  holdsSecret(text: string): boolean;
}

/** A question about a host that no rule knows. */
export interface AskQuestion {
  readonly host: string;
  readonly port: number;
  readonly entry: NetworkEvent['entry'];
}

export type AskAnswer = 'once' | 'sandbox' | 'deny';

/** An answer with whose it is. */
export interface AskReply {
  readonly answer: AskAnswer;
  /** For the record; cut to 128 printable characters. */
  readonly by: string;
}

/** How a question ended, for the record. */
export interface AskOutcome extends AskQuestion {
  /** `full`: as many questions as may be were open, or were asked within a minute, and nobody was asked. */
  readonly answer: AskAnswer | 'timeout' | 'full';
  /** Who answered: `callback` when it does not say; absent when nobody did. */
  readonly by?: string;
  readonly durationMs: number;
  /** This many more like it; absent on a record of one. */
  readonly repeats?: number;
}

/** Real names to addresses; replaced in tests by fixtures. */
export interface Resolver {
  /** All addresses of a canonical name; rejects when there are none. */
  resolve(name: string, signal: AbortSignal): Promise<readonly string[]>;
}

/** Opens a TCP connection to a vetted literal address; replaced in tests. */
export interface Dialler {
  dial(address: string, port: number, signal: AbortSignal): Promise<Socket>;
}

export interface GatewayOptions {
  readonly policy: NetworkPolicy;
  readonly onEvent: (event: NetworkEvent) => void;
  readonly onConnection: (summary: ConnectionSummary) => void;
  readonly onRequest?: (record: RequestRecord) => void;
  readonly broker?: CredentialBroker;
  readonly scanner?: ContentScanner;
  /** Keeps secrets and token shapes out of the words and paths of refusals; loaded when the first of them is recorded. */
  readonly recordGuard?: () => Promise<RecordGuard>;
  /** Signs for the names of `https` rules whose requests are read; without one, such rules are refused. */
  readonly authority?: CertificateAuthority;
  /** Whom upstream servers may be signed by; hand the same one to every gateway of a process. Default: this machine's bundle. */
  readonly roots?: RootStore;
  /** Asked when `policy.ask` is there and no rule knows a host; a rejection or no answer in time is a denial. */
  readonly onAsk?: (question: AskQuestion, signal: AbortSignal) => Promise<AskAnswer | AskReply>;
  /** Told of every question that was asked or could not be. */
  readonly onAsked?: (outcome: AskOutcome) => void;
  /** Told once for each policy whose `overBudget` is `pause`, when a budget of the whole network is used up. */
  readonly onOverBudget?: (verdict: Verdict) => void;
  /** The value of Proxy-Authorization, asked for with each connection when `policy.parentProxy` names a credential: by that name. */
  readonly parentAuthorization?: (credential: string) => Promise<string>;
  readonly resolver?: Resolver;
  readonly dialler?: Dialler;
  /** Bounds that differ from the defaults. */
  readonly limits?: Partial<GatewayLimits>;
  /** Where synthetic addresses come from: 198.18.0.0/15 (default), or 127.128.0.0/9 where the airlock has no routes. */
  readonly syntheticPool?: 'benchmark' | 'loopback';
  /** Addresses of this machine in canonical text, never dialled; read from the interfaces by default. */
  readonly hostAddresses?: () => Iterable<string>;
}

/** What `Gateway.update` puts in force. */
export interface GatewayChange {
  readonly policy: NetworkPolicy;
  /** Undefined takes the scanner away; left out, the one there is stays. */
  readonly scanner?: ContentScanner | undefined;
}

/**
 * The egress gateway of one sandbox. Its identity is its listeners: whatever arrives on them came from that sandbox.
 * `handle` is what Node hands over for a received socket: a TCP handle for `net.Server.listen`, or a UDP handle.
 */
export interface Gateway extends AsyncDisposable {
  attach(spec: ListenerSpec, handle: object): void;
  /**
   * Serves listeners that stand behind a guest kernel with a network stack of its own: their connections come over one unix socket that
   * this sandbox alone reaches. `server` listens, and was made by `createRelayServer`; the gateway closes it. `sshAgent` takes the connections
   * to the ssh agent that is lent; without it there are none.
   */
  attachRelay(specs: readonly ListenerSpec[], server: Server, sshAgent?: (socket: Socket) => void): void;
  /**
   * Puts another policy in force, whole or not at all, and closes at once what it no longer allows in the same way; answers how many
   * connections and requests that were. What the sandbox has used of its budgets stays used. Rules that answers had given fall.
   * Throws E_POLICY_INVALID for a policy that cannot be put in force; then the old one stays.
   */
  update(change: GatewayChange): { readonly closed: number };
  /**
   * Closes at once, with a record, every request, stream and WebSocket under way that carries this credential; answers how many. That
   * later ones are refused is the broker's to see to, and comes first.
   */
  revoke(credential: string): { readonly closed: number };
  /** Totals so far. */
  stats(): {
    readonly connections: number;
    readonly upBytes: number;
    readonly downBytes: number;
    readonly denied: number;
  };
  /** Closes every listener and connection; resolves when all are gone. */
  close(): Promise<void>;
}

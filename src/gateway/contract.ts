import type { Socket } from 'node:net';
import type { NetworkPolicy, NetworkProtocol } from '../policy/contract.ts';
import type { GatewayLimits } from './limits.ts';

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
  readonly resolver?: Resolver;
  readonly dialler?: Dialler;
  /** Bounds that differ from the defaults. */
  readonly limits?: Partial<GatewayLimits>;
  /** Where synthetic addresses come from: 198.18.0.0/15 (default), or 127.128.0.0/9 where the airlock has no routes. */
  readonly syntheticPool?: 'benchmark' | 'loopback';
  /** Addresses of this machine in canonical text, never dialled; read from the interfaces by default. */
  readonly hostAddresses?: () => Iterable<string>;
}

/**
 * The egress gateway of one sandbox. Its identity is its listeners: whatever arrives on them came from that sandbox.
 * `handle` is what Node hands over for a received socket: a TCP handle for `net.Server.listen`, or a UDP handle.
 */
export interface Gateway extends AsyncDisposable {
  attach(spec: ListenerSpec, handle: object): void;
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

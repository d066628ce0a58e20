import type { Field } from '../h2-wire.ts';
/** One row of the case file; fields that an operation does not know are left alone. */
export interface Case {
    readonly id: string;
    readonly layer: string;
    readonly input: Input;
    readonly policy: string;
    readonly expect: string;
    readonly accept?: readonly string[];
    readonly level?: 'should';
    readonly why: string;
    readonly assert?: string;
}
/** A stream of an `h2` row. */
export interface StreamInput {
    readonly headers: readonly Field[];
    readonly body?: string;
    readonly trailers?: readonly Field[];
}
/** A message of a `ws` row: `fin: false` leaves it open for `cont`. */
export interface FrameInput {
    readonly text?: string;
    readonly binary?: string;
    readonly cont?: string;
    readonly ping?: string;
    readonly pong?: string;
    readonly close?: number;
    readonly opcode?: number;
    readonly hex?: string;
    readonly fin?: boolean;
    readonly rsv1?: boolean;
    readonly mask?: boolean;
}
export interface Input {
    readonly op: string;
    readonly of?: string;
    readonly count?: number;
    readonly sandbox?: string;
    readonly host?: string;
    readonly hostHex?: string;
    readonly port?: number;
    readonly answers?: readonly string[];
    readonly second?: readonly string[];
    readonly dialFails?: readonly string[];
    readonly timeout?: boolean;
    readonly answerName?: string;
    readonly dst?: string;
    readonly sni?: string | null;
    readonly sniHex?: string;
    readonly sniList?: readonly string[];
    readonly sniExtensions?: readonly string[];
    readonly ext?: readonly string[];
    readonly alpn?: readonly string[];
    readonly segments?: number;
    readonly records?: number;
    readonly authority?: string;
    readonly raw?: string;
    readonly hex?: string;
    /** `proxy`: what follows the head. `response`: the next request on the same connection. */
    readonly then?: string | {
        readonly sni?: string;
        readonly bytes?: string;
        readonly hex?: string;
        readonly http?: string;
        readonly samePacket?: boolean;
    };
    readonly cmd?: number;
    readonly atyp?: number;
    readonly rsv?: number;
    readonly pipelined?: string;
    readonly name?: string;
    readonly type?: string;
    readonly opcode?: string;
    readonly transport?: string;
    readonly class?: string;
    readonly server?: string;
    readonly rcode?: string;
    readonly methods?: readonly number[];
    readonly hold?: boolean;
    readonly bytesDown?: number;
    readonly version?: string;
    readonly padding?: number;
    readonly edns?: object;
    readonly proto?: string;
    readonly request?: string;
    readonly response?: string;
    readonly follow?: boolean;
    readonly http?: string;
    readonly tls?: string;
    readonly upstreamCert?: string;
    readonly clientPinsCert?: boolean;
    readonly nestedTls?: string;
    readonly saveTicket?: boolean;
    readonly useTicket?: boolean;
    readonly bytesUp?: number;
    readonly passthrough?: boolean;
    readonly streams?: readonly StreamInput[];
    readonly flood?: string;
    readonly path?: string;
    readonly send?: readonly FrameInput[];
    readonly credential?: string;
    readonly network?: unknown;
    readonly from_sandbox?: boolean;
    readonly what?: string;
    readonly steps?: readonly Input[];
}
export interface CaseFile {
    readonly blocked: readonly string[];
    readonly fixtures: {
        readonly attackerAddress: string;
        readonly names: Readonly<Record<string, {
            readonly A: readonly string[];
        }>>;
    };
    readonly policies: Readonly<Record<string, unknown>>;
    readonly cases: readonly Case[];
}
/** The development half, or the file that GLOVEBOX_EGRESS_CASES names: another half of the same cases runs without changes. */
export declare function loadCases(): CaseFile;
/** Neighbours of the rows of the case file, for the same policies and fixtures. */
export declare function loadOwnCases(): CaseFile;

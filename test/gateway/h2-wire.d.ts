import type { Duplex } from 'node:stream';
/** One header line, bytes as Latin-1. Nothing is checked: upper case, CR/LF and late pseudo-headers go out as they are. */
export type Field = readonly [name: string, value: string];
export declare const FRAME: {
    readonly data: 0;
    readonly headers: 1;
    readonly priority: 2;
    readonly reset: 3;
    readonly settings: 4;
    readonly push: 5;
    readonly ping: 6;
    readonly goaway: 7;
    readonly window: 8;
    readonly continuation: 9;
};
export declare const FLAG: {
    readonly endStream: 1;
    readonly ack: 1;
    readonly endHeaders: 4;
    readonly padded: 8;
};
/** A stream as one case of the case file writes it. */
export interface RawRequest {
    readonly headers: readonly Field[];
    /** Latin-1, as in the case file. */
    readonly body?: string | Buffer;
    readonly trailers?: readonly Field[];
}
/** What came back on one stream. */
export interface RawAnswer {
    /** `:status` of the last head; undefined when none came. */
    status?: number;
    /** `grpc-status` of a head or of trailers. */
    grpcStatus?: number;
    body: Buffer;
    ended: boolean;
    /** Error code of RST_STREAM. */
    reset?: number;
}
/** One frame (RFC 9113 §4.1). */
export declare function frame(type: number, flags: number, stream: number, payload?: Uint8Array): Buffer;
/** A header block of literals without indexing and without Huffman coding (RFC 7541 §6.2.2). */
export declare function headerBlock(fields: readonly Field[]): Buffer;
/**
 * The client's end of an HTTP/2 connection, frame by frame. It says what it is told to say, right or wrong, and understands of the
 * answers what a verdict needs: status, grpc-status, body, resets, GOAWAY.
 */
export declare class RawH2 {
    #private;
    readonly answers: Map<number, RawAnswer>;
    goaway: {
        readonly code: number;
        readonly debug: string;
    } | undefined;
    closed: boolean;
    /** Frames received, by type. */
    readonly seen: Record<number, number>;
    constructor(socket: Duplex, options?: {
        readonly polite?: boolean;
    });
    get socket(): Duplex;
    /** Preface and SETTINGS. Table size 0: the answers' headers then never refer to a dynamic table. */
    start(settings?: readonly (readonly [id: number, value: number])[]): void;
    send(...frames: Buffer[]): boolean;
    settings(entries: readonly (readonly [id: number, value: number])[]): boolean;
    ping(): boolean;
    reset(stream: number, code?: number): boolean;
    windowUpdate(stream: number, bytes: number): boolean;
    /** Opens a stream. `pieces` spreads the header block over that many frames; `leaveOpen` keeps END_HEADERS back. */
    headers(fields: readonly Field[], options?: {
        readonly end?: boolean;
        readonly pieces?: number;
        readonly leaveOpen?: boolean;
    }): number;
    trailers(stream: number, fields: readonly Field[]): void;
    data(stream: number, body: string | Buffer, end: boolean): void;
    /** A whole request. */
    request(request: RawRequest): number;
    answer(stream: number): RawAnswer;
    /** Resolves when the stream is over, the connection ended, or nothing comes any more. */
    settled(stream: number, timeoutMs?: number): Promise<RawAnswer>;
    ended(timeoutMs?: number): Promise<boolean>;
    flushed(): Promise<void>;
    destroy(): void;
}

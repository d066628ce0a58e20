/** Knobs of a hand-made ClientHello. */
export interface HelloOptions {
    readonly sni?: string | null;
    /** Raw names in one server_name list. */
    readonly sniList?: readonly (string | Uint8Array)[];
    /** One server_name extension for each. */
    readonly sniExtensions?: readonly (string | Uint8Array)[];
    readonly ech?: boolean;
    readonly alpn?: readonly string[];
    /** Split the handshake over this many TLS records. */
    readonly records?: number;
    readonly padding?: number;
    /** Extensions as they are. */
    readonly more?: readonly (readonly [type: number, body: readonly number[]])[];
}
/** A ClientHello as a client would send it, or as an attacker would. */
export declare function clientHello(options: HelloOptions): Buffer;

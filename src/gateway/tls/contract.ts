import type { Socket } from 'node:net';
import type { SecureContext, TLSSocket } from 'node:tls';
import type { Verdict } from '../contract.ts';
import type { Allowed } from '../decide.ts';

/** What the gateway speaks inside TLS (RFC 7301 names). */
export type Alpn = 'h2' | 'http/1.1';

/** The certificate authority of one sandbox. Its private keys are in memory only and no method gives them away. */
export interface CertificateAuthority {
  /** The CA certificate, for the sandbox's trust stores. */
  readonly pem: string;
  /** When the CA certificate ends, milliseconds since the epoch. */
  readonly notAfter: number;
  /** A server context whose certificate is for this one canonical name or IP literal. Sessions resume within it only. */
  contextFor(name: string): SecureContext;
}

/** Whom upstream servers may be signed by. One object may serve every gateway of a process: equal roots share one context. */
export interface RootStore {
  /** The host's own bundle, PEM: what the sandbox's bundle is made from. Rejects when a file the environment names cannot be read. */
  hostBundle(): Promise<string>;
  /** A client context that trusts the host's bundle and the certificates in `files`, but never the one in `except`. */
  contextFor(files: readonly string[], except?: string): Promise<SecureContext>;
}

/** A verified connection to an origin. */
export type SecureDialled =
  | { readonly state: 'ok'; readonly socket: TLSSocket; readonly alpn: Alpn; readonly resumed: boolean }
  /** The origin could not prove who it is: a refusal to be recorded; answered with 502. */
  | { readonly state: 'untrusted'; readonly verdict: Verdict }
  /** The network or the origin failed, which is no decision. */
  | { readonly state: 'failed'; readonly why: string };

/** TLS to origins, with one root context and one session cache for a gateway. */
export interface SecureDialler {
  /**
   * Speaks TLS on a connection to a vetted address of the target. The name that is proven is the target's, whatever the address.
   * The socket belongs to the dialler from now on: unless the answer is `ok` it is destroyed.
   */
  secureDial(target: Allowed, socket: Socket, alpn: readonly Alpn[]): Promise<SecureDialled>;
  /** Forgets sessions; connections under way end with their sockets. */
  close(): void;
}

/** A client's connection after its handshake; or why there is none. */
export type Terminated =
  | { readonly state: 'ok'; readonly socket: TLSSocket; readonly alpn: Alpn }
  /** To be recorded; the client has had its alert and is closed. */
  | { readonly state: 'refused'; readonly verdict: Verdict }
  /** The client left, or it broke off: nothing was decided. Closed. */
  | { readonly state: 'gone' };

/** TLS of clients that ends in the gateway. */
export interface TlsTerminator {
  /**
   * Does the server's side of the handshake for the target's name.
   * Preconditions: the ClientHello at the front of `hello` was judged, and its bytes were taken off the socket.
   */
  terminate(target: Allowed, client: Socket, hello: Buffer): Promise<Terminated>;
}

/** The TLS half of one gateway, loaded on first use: towards clients and towards origins. */
export interface TlsHalf extends TlsTerminator, SecureDialler {}

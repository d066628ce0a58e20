import type { Socket } from 'node:net';
import { checkServerIdentity, connect } from 'node:tls';
import type { PeerCertificate, SecureContext, TLSSocket } from 'node:tls';
import { GloveboxError, systemCode } from '../../base/errors.ts';
import { HOST_LOOPBACK, LOOPBACK_NAME, printable } from '../decide.ts';
import type { Allowed } from '../decide.ts';
import type { GatewayLimits } from '../limits.ts';
import type { Alpn, RootStore, SecureDialled, SecureDialler } from './contract.ts';
import { untrustedReason } from './failure.ts';
import { makeResettable } from './resettable.ts';

/** Sessions kept for resumption; the least recent goes first. */
const SESSIONS_MAX = 256;
/** A resumed handshake shows no certificate again, so what was proven may be this old (RFC 8446 §4.6.1 allows a week). */
const SESSION_MS = 3_600_000;

const CLOSED = 'the other side closed';

export interface DiallerParts {
  readonly roots: RootStore;
  /** Files of `network.trust`. */
  readonly trust: readonly string[];
  /** The sandbox's own CA, PEM: a certificate that the sandbox trusts proves nothing to the gateway. */
  readonly except: string | undefined;
  readonly limits: Pick<GatewayLimits, 'handshakeMs'>;
}

/** Creates the TLS client half of one gateway; nothing is read before the first connection. */
export function createSecureDialler(parts: DiallerParts): SecureDialler {
  return new OriginDialler(parts);
}

interface StoredSession {
  readonly session: Buffer;
  readonly storedAt: number;
}

class OriginDialler implements SecureDialler {
  readonly #parts: DiallerParts;
  readonly #sessions = new Map<string, StoredSession>();
  #context: Promise<SecureContext> | undefined;

  constructor(parts: DiallerParts) {
    this.#parts = parts;
  }

  async secureDial(target: Allowed, socket: Socket, alpn: readonly Alpn[]): Promise<SecureDialled> {
    const context = await this.#roots();
    if (context instanceof GloveboxError) {
      socket.destroy();
      return { state: 'failed', why: context.message };
    }
    if (!socket.destroyed && !socket.readableEnded) return this.#handshake({ target, socket, alpn, context });
    socket.destroy();
    return failureOf(target, new Error(CLOSED), this.#parts.limits.handshakeMs);
  }

  close(): void {
    this.#sessions.clear();
  }

  /** A failure is not kept: the file may be put right while the sandbox lives. */
  async #roots(): Promise<SecureContext | GloveboxError> {
    this.#context ??= this.#parts.roots.contextFor(this.#parts.trust, this.#parts.except);
    try {
      return await this.#context;
    } catch (error) {
      this.#context = undefined;
      if (error instanceof GloveboxError) return error;
      return new GloveboxError('E_IO', { what: 'the trusted certificates cannot be read', cause: error });
    }
  }

  #handshake(dial: Dial): Promise<SecureDialled> {
    const { target, socket } = dial;
    const key = `${target.rule.id} ${target.host} ${target.port} ${dial.alpn.join()}`;
    return new Promise((resolve) => {
      const secure = open(dial, this.#session(key));
      let late = false;
      const timer = setTimeout(() => {
        late = true;
        secure.destroy();
      }, this.#parts.limits.handshakeMs);
      const fail = (error?: Error): void => {
        clearTimeout(timer);
        socket.destroy();
        resolve(failureOf(target, late ? undefined : error, this.#parts.limits.handshakeMs));
      };
      // These stay: after the handshake the promise is settled, and an error only has to close the socket.
      secure.on('error', fail);
      secure.on('close', () => fail(new Error(CLOSED)));
      // An end that came before TLS took the socket over is not told to the TLS layer.
      socket.once('end', () => fail(new Error(CLOSED)));
      // Comes only once the certificate has been verified, also when the ticket arrived before.
      secure.on('session', (session) => this.#store(key, session));
      secure.once('secureConnect', () => {
        clearTimeout(timer);
        makeResettable(secure, socket);
        resolve({ state: 'ok', socket: secure, alpn: alpnOf(secure), resumed: secure.isSessionReused() });
      });
    });
  }

  #session(key: string): Buffer | undefined {
    const stored = this.#sessions.get(key);
    if (stored === undefined) return undefined;
    if (Date.now() - stored.storedAt <= SESSION_MS) return stored.session;
    this.#sessions.delete(key);
    return undefined;
  }

  #store(key: string, session: Buffer): void {
    const [oldest] = this.#sessions.keys();
    if (this.#sessions.size >= SESSIONS_MAX && !this.#sessions.has(key) && oldest !== undefined)
      this.#sessions.delete(oldest);
    // A resumed handshake hands out tickets too: what was proven stays as old as its certificate's last showing.
    const storedAt = this.#sessions.get(key)?.storedAt ?? Date.now();
    this.#sessions.delete(key);
    this.#sessions.set(key, { session, storedAt });
  }
}

interface Dial {
  readonly target: Allowed;
  readonly socket: Socket;
  readonly alpn: readonly Alpn[];
  readonly context: SecureContext;
}

function open(dial: Dial, session: Buffer | undefined): TLSSocket {
  const { target, socket, context } = dial;
  const servername = serverName(target);
  // The dialler leaves sockets half-open for tunnels; an origin that ended a TLS connection is done.
  socket.allowHalfOpen = false;
  socket.setNoDelay(true);
  return connect({
    socket,
    secureContext: context,
    ALPNProtocols: [...dial.alpn],
    // Said outright: NODE_TLS_REJECT_UNAUTHORIZED of the host process would turn it off.
    rejectUnauthorized: true,
    checkServerIdentity: (_host, certificate) => identityProblem(target, certificate),
    ...(servername === undefined ? {} : { servername }),
    ...(session === undefined ? {} : { session }),
  });
}

/** RFC 6066 §3: addresses are not sent as server names. */
function serverName(target: Allowed): string | undefined {
  if (target.kind === 'ip') return undefined;
  return target.kind === HOST_LOOPBACK ? LOOPBACK_NAME : target.host;
}

/** The target's name or address must stand in subjectAltName: the common name does not count (RFC 9525 §6.3). */
function identityProblem(target: Allowed, certificate: PeerCertificate): Error | undefined {
  const names = certificate.subjectaltname;
  if (names === undefined) return new IdentityError('its certificate has no subjectAltName');
  const expected =
    target.kind === HOST_LOOPBACK ? [LOOPBACK_NAME, '127.0.0.1', HOST_LOOPBACK] : [target.host];
  if (expected.some((name) => checkServerIdentity(name, certificate) === undefined)) return undefined;
  return new IdentityError(`its certificate is for other names: ${printable(names)}`);
}

class IdentityError extends Error {}

function alpnOf(socket: TLSSocket): Alpn {
  return socket.alpnProtocol === 'h2' ? 'h2' : 'http/1.1';
}

/** A broken certificate is a refusal; everything else is a network that failed. */
function failureOf(target: Allowed, error: Error | undefined, limitMs: number): SecureDialled {
  const who = `${target.host} port ${target.port}`;
  if (error === undefined) return { state: 'failed', why: `${who}: no TLS handshake within ${limitMs} ms` };
  const untrusted =
    error instanceof IdentityError ? { reason: error.message } : untrustedReason(systemCode(error));
  if (untrusted === undefined) return { state: 'failed', why: `${who}: ${handshakeReason(error)}` };
  return {
    state: 'untrusted',
    verdict: {
      action: 'deny',
      rule: 'structural.tls-upstream',
      reason: `${who} cannot prove who it is: ${untrusted.reason}`,
      ...('remedy' in untrusted && untrusted.remedy !== undefined ? { remedy: untrusted.remedy } : {}),
    },
  };
}

/** OpenSSL's own words (`sslv3 alert handshake failure`), never bytes of the peer. */
function handshakeReason(error: Error): string {
  if ('reason' in error && typeof error.reason === 'string') return `TLS failed: ${error.reason}`;
  return `TLS failed: ${systemCode(error) ?? error.message}`;
}

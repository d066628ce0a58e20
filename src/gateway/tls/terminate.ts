import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { SecureContext } from 'node:tls';
import { systemCode } from '../../base/errors.ts';
import type { Allowed } from '../decide.ts';
import type { GatewayLimits } from '../limits.ts';
import { sayAndClose, TLS_ALERT, tlsAlert } from '../wire.ts';
import type { Alpn, CertificateAuthority, Terminated, TlsTerminator } from './contract.ts';
import { clientRefusal, http2Verdict, pinnedVerdict, tlsVerdict } from './failure.ts';
import { makeResettable } from './resettable.ts';
import { Slots } from './slots.ts';

/** Handshakes under way at once. A finished one costs a millisecond, so only clients that stall ever fill this. */
const HANDSHAKES_MAX = 128;

export interface TerminatorParts {
  readonly authority: CertificateAuthority | undefined;
  readonly limits: Pick<GatewayLimits, 'handshakeMs' | 'lingerMs' | 'lingerBytes'>;
}

/** Creates the TLS server half of one gateway. */
export function createTerminator(parts: TerminatorParts): TlsTerminator {
  return new ClientTerminator(parts);
}

class ClientTerminator implements TlsTerminator {
  readonly #parts: TerminatorParts;
  readonly #slots = new Slots(HANDSHAKES_MAX);

  constructor(parts: TerminatorParts) {
    this.#parts = parts;
  }

  async terminate(target: Allowed, client: Socket, hello: Buffer): Promise<Terminated> {
    const { authority, limits } = this.#parts;
    if (authority === undefined) return this.#refuse(client, 'this gateway has no certificate authority');
    const deadline = Date.now() + limits.handshakeMs;
    if (!(await this.#slots.take(limits.handshakeMs)))
      return this.#refuse(client, `${HANDSHAKES_MAX} TLS handshakes are under way already`);
    try {
      if (client.destroyed || client.readableEnded) return leave(client);
      client.unshift(hello);
      const timeoutMs = Math.max(1, deadline - Date.now());
      const request = { target, client, context: authority.contextFor(target.host), timeoutMs };
      return await handshake(request);
    } finally {
      this.#slots.give();
    }
  }

  #refuse(client: Socket, reason: string): Terminated {
    sayAndClose(client, tlsAlert(TLS_ALERT.internalError), this.#parts.limits);
    return { state: 'refused', verdict: tlsVerdict(reason) };
  }
}

/** A socket that has ended takes no bytes back. */
function leave(client: Socket): Terminated {
  client.destroy();
  return { state: 'gone' };
}

interface Handshake {
  readonly target: Allowed;
  readonly client: Socket;
  readonly context: SecureContext;
  readonly timeoutMs: number;
}

/**
 * The server's side on a socket of its own, without a `tls.Server`: that has one set of ticket keys for all names, while a ticket
 * of one name must not open a session of another. What the server would do after the handshake is done here.
 */
function handshake(request: Handshake): Promise<Terminated> {
  const { target, client, context, timeoutMs } = request;
  return new Promise((resolve) => {
    const socket = new TLSSocket(client, {
      isServer: true,
      secureContext: context,
      ALPNProtocols: alpnFor(target),
    });
    let settled = false;
    const finish = (result: Terminated): void => {
      clearTimeout(timer);
      // What is called "gone" before the handshake is done is an ordinary end after it.
      if (!settled && result.state !== 'ok') client.destroy();
      settled = true;
      resolve(result);
    };
    const before = client.bytesWritten;
    // Node's clients break off without an alert when they dislike a certificate; before it was sent there is nothing to dislike.
    const gone = (): void => finish(client.bytesWritten > before ? brokenOff(target) : { state: 'gone' });
    const timer = setTimeout(
      () => finish({ state: 'refused', verdict: tlsVerdict(`no TLS handshake within ${timeoutMs} ms`) }),
      timeoutMs,
    );
    // Until a server takes a socket over, Node reports its errors by this event alone; they also come after the handshake.
    socket.on('_tlsError', (error: Error) => {
      const failed = failureOf(target, error);
      if (failed.state === 'gone') gone();
      else finish(failed);
      socket.destroy();
    });
    socket.on('error', () => socket.destroy());
    socket.once('end', gone).once('close', gone);
    // An end that the plain socket saw before TLS took it over is not told to the TLS layer.
    client.once('end', gone);
    socket.once('secure', () => {
      markConnected(socket);
      makeResettable(socket, client);
      finish({ state: 'ok', socket, alpn: socket.alpnProtocol === 'h2' ? 'h2' : 'http/1.1' });
    });
  });
}

function brokenOff(target: Allowed): Terminated {
  return { state: 'refused', verdict: pinnedVerdict(target, 'it left when it saw it') };
}

/** Node leaves this set on sockets without a server; HTTP/2 sessions wait for it to go. */
function markConnected(socket: TLSSocket): void {
  Reflect.set(socket, 'secureConnecting', false);
  // TLS 1.2 clients could make the server work for ever (RFC 7457 §2.11); a second handshake is an error here.
  socket.disableRenegotiation();
}

/** `http/1.0` is what old clients offer alone; it is read by the same parser. */
function alpnFor(target: Allowed): string[] {
  const http1 = ['http/1.1', 'http/1.0'];
  return target.rule.requests?.http2 === true ? ['h2' satisfies Alpn, ...http1] : http1;
}

function failureOf(target: Allowed, error: Error): Terminated {
  const code = systemCode(error);
  const alert = clientRefusal(code);
  if (alert !== undefined)
    return { state: 'refused', verdict: pinnedVerdict(target, `it answered ${alert}`) };
  // ECONNRESET, EPIPE and their like: the client went away, nobody refused anything.
  if (code?.startsWith('ERR_SSL_') !== true) return { state: 'gone' };
  if (code === 'ERR_SSL_NO_APPLICATION_PROTOCOL' && target.rule.requests?.http2 === false) {
    return { state: 'refused', verdict: http2Verdict(target) };
  }
  const reason = 'reason' in error && typeof error.reason === 'string' ? error.reason : code;
  return { state: 'refused', verdict: tlsVerdict(`the TLS handshake failed: ${reason}`) };
}

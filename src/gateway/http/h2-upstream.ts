import { connect } from 'node:http2';
import type { ClientHttp2Session } from 'node:http2';
import type { Socket } from 'node:net';
import { formatAuthority } from '../../net/authority.ts';
import type { Allowed } from '../decide.ts';
import type { GatewayLimits } from '../limits.ts';
import type { OpenSession, UpstreamConnection, UpstreamSession } from './contract.ts';
import { FloodMeter } from './h2-flood.ts';
import { H2_LIMITS, NODE_HEADER_PAIRS } from './h2-limits.ts';
import type { H2Limits } from './h2-limits.ts';
import { OriginStream } from './h2-upstream-stream.ts';
import type { StreamOwner } from './h2-upstream-stream.ts';

type Limits = Pick<GatewayLimits, 'poolIdleMs'>;

/** Makes the function by which a pool turns verified connections whose ALPN is h2 into sessions. */
export function openH2(limits: Limits, h2: H2Limits = H2_LIMITS): OpenSession {
  return (socket, address, target, onIdle) =>
    new OriginSession({ socket, address, target, onIdle, idleMs: limits.poolIdleMs, limits: h2 });
}

interface SessionOptions {
  readonly socket: Socket;
  readonly address: string;
  readonly target: Allowed;
  readonly onIdle: () => void;
  readonly idleMs: number;
  readonly limits: H2Limits;
}

/** One HTTP/2 connection to an origin (RFC 9113 §9.1): many requests at once, all of one rule and one host. */
class OriginSession implements UpstreamSession, StreamOwner {
  readonly socket: Socket;
  readonly limits: H2Limits;
  readonly session: ClientHttp2Session;
  readonly #options: SessionOptions;
  /** Streams in use or promised. */
  #open = 0;
  #served = 0;
  #maxStreams: number;
  #retired = false;
  #goawayLast: number | undefined;
  #idle: NodeJS.Timeout | undefined;

  constructor(options: SessionOptions) {
    const { socket, limits } = options;
    this.#options = options;
    this.socket = socket;
    this.limits = limits;
    this.#maxStreams = limits.streams;
    // The dialler leaves sockets half-open; HTTP/2 has no use for one half. Answers that came in full are not lost with it.
    socket.on('error', () => socket.destroy()).once('end', () => socket.destroy());
    this.session = startSession(options);
    this.#listen();
    this.#restUntilUsed();
  }

  open(): UpstreamConnection | undefined {
    if (this.#retired || this.session.closed || this.session.destroyed || this.#open >= this.#maxStreams)
      return undefined;
    clearTimeout(this.#idle);
    this.#open++;
    const reused = this.#served++ > 0;
    return new OriginStream(this, this.#options.address, reused);
  }

  retire(): void {
    if (this.#retired) return;
    this.#retired = true;
    // Ends when the last stream has (GOAWAY goes out at once).
    if (!this.session.destroyed) this.session.close();
  }

  wasRefused(stream: number): boolean {
    return this.#goawayLast !== undefined && stream > this.#goawayLast;
  }

  done(): void {
    this.#open--;
    if (this.#open === 0) this.#restUntilUsed();
    this.#options.onIdle();
  }

  #listen(): void {
    const { session, socket } = this;
    const flood = new FloodMeter(this.limits, () => session.destroy());
    session.on('ping', () => flood.note('pings'));
    session.on('remoteSettings', ({ maxConcurrentStreams }) => {
      this.#maxStreams = Math.min(this.limits.streams, maxConcurrentStreams ?? this.limits.streams);
      flood.note('settings');
      this.#options.onIdle();
    });
    session.once('connect', () => session.setLocalWindowSize(this.limits.originConnectionWindow));
    session.on('goaway', (_code: number, last: number) => {
      this.#retired = true;
      this.#goawayLast = last;
    });
    // Streams tell what it means for them.
    session.on('error', () => undefined);
    // Push is disabled; an origin that pushes anyway breaks the protocol.
    session.on('stream', (pushed) => pushed.destroy());
    session.once('close', () => {
      this.#retired = true;
      clearTimeout(this.#idle);
      socket.destroy();
      this.#options.onIdle();
    });
  }

  #restUntilUsed(): void {
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => this.retire(), this.#options.idleMs);
    this.#idle.unref();
  }
}

function startSession({ socket, target, limits }: SessionOptions): ClientHttp2Session {
  const authority = formatAuthority(target.host, target.port, 443);
  // A value of its own: two of the bounds are missing from Node's types for clients.
  const options = {
    createConnection: () => socket,
    maxSessionMemory: limits.sessionMegabytes,
    maxHeaderListPairs: NODE_HEADER_PAIRS,
    maxSessionInvalidFrames: limits.malformed,
    maxSessionRejectedStreams: limits.malformed,
    maxReservedRemoteStreams: 0,
    settings: { enablePush: false, initialWindowSize: limits.originWindow },
  };
  return connect(`https://${authority}`, options);
}

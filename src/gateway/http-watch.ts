import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { GatewayLimits } from './limits.ts';

type Limits = Pick<GatewayLimits, 'headMs' | 'idleMs' | 'stallMs' | 'upstreamIdleMs'>;

interface Watched {
  busy: number;
  first: boolean;
  since: number;
  bytes: number;
  request: IncomingMessage | undefined;
  response: ServerResponse | undefined;
}

/**
 * Time limits of HTTP connections, by one sweep over all of them. Node's own limits belong to a listening server; these connections
 * are handed to a server that never listens.
 */
export class HttpWatch {
  readonly #limits: Limits;
  readonly #watched = new Map<Socket, Watched>();
  #timer: NodeJS.Timeout | undefined;

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  add(socket: Socket): void {
    const none = { request: undefined, response: undefined };
    this.#watched.set(socket, { busy: 0, first: true, since: Date.now(), bytes: 0, ...none });
    socket.once('close', () => this.release(socket));
    this.#timer ??= setInterval(() => this.#sweep(), this.#interval()).unref();
  }

  /** The connection is no longer HTTP, or is gone. */
  release(socket: Socket): void {
    this.#watched.delete(socket);
    if (this.#watched.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** A request began; it is over when its body and its response are. */
  began(socket: Socket, request: IncomingMessage, response: ServerResponse): void {
    const state = this.#watched.get(socket);
    if (state === undefined) return;
    Object.assign(state, { busy: state.busy + 1, first: false, since: Date.now(), request, response });
    const over = (): void => {
      state.busy--;
      state.since = Date.now();
    };
    // An origin may answer before the body is through; the connection is idle only after both.
    response.once('close', () => {
      if (request.complete || request.destroyed) over();
      else request.once('close', over);
    });
  }

  #interval(): number {
    const { headMs, idleMs, stallMs } = this.#limits;
    return Math.max(50, Math.min(5_000, Math.min(headMs, idleMs, stallMs) / 3));
  }

  #sweep(): void {
    const now = Date.now();
    for (const [socket, state] of this.#watched) {
      const bytes = socket.bytesRead + socket.bytesWritten;
      // Bytes of a head are no progress: a head has one time limit, however slowly it trickles.
      if (state.busy > 0 && bytes !== state.bytes) state.since = now;
      state.bytes = bytes;
      if (now - state.since > this.#limitOf(socket, state)) socket.destroy();
    }
  }

  #limitOf(socket: Socket, state: Watched): number {
    if (state.busy === 0) return state.first ? this.#limits.headMs : this.#limits.idleMs;
    const uploading = state.request?.complete === false;
    const unread = socket.writableLength > 0 || (state.response?.writableLength ?? 0) > 0;
    return uploading || unread ? this.#limits.stallMs : this.#limits.upstreamIdleMs;
  }
}

import type { Socket } from 'node:net';
import type { ConnectionSummary } from './contract.ts';

/** Live sockets and totals of one gateway. Every socket is in here until it is closed, so that `close` leaves none. */
export class Ledger {
  readonly #onConnection: (summary: ConnectionSummary) => void;
  readonly #clients = new Set<Socket>();
  readonly #upstreams = new Set<Socket>();
  #connections = 0;
  #upBytes = 0;
  #downBytes = 0;

  constructor(onConnection: (summary: ConnectionSummary) => void) {
    this.#onConnection = onConnection;
  }

  get clients(): number {
    return this.#clients.size;
  }

  get upstreams(): number {
    return this.#upstreams.size;
  }

  get totals(): { readonly connections: number; readonly upBytes: number; readonly downBytes: number } {
    return { connections: this.#connections, upBytes: this.#upBytes, downBytes: this.#downBytes };
  }

  addClient(socket: Socket): void {
    track(this.#clients, socket);
  }

  addUpstream(socket: Socket): void {
    track(this.#upstreams, socket);
  }

  /** One upstream connection is over. */
  finished(summary: ConnectionSummary): void {
    this.#connections++;
    this.#upBytes += summary.upBytes;
    this.#downBytes += summary.downBytes;
    this.#onConnection(summary);
  }

  /** Destroys every socket; resolves when all are closed. */
  async closeAll(): Promise<void> {
    const closing = [...this.#clients, ...this.#upstreams].map(
      (socket) =>
        new Promise<void>((resolve) => {
          if (socket.closed) return resolve();
          socket.once('close', () => resolve());
          socket.destroy();
        }),
    );
    await Promise.all(closing);
  }
}

function track(set: Set<Socket>, socket: Socket): void {
  set.add(socket);
  socket.once('close', () => set.delete(socket));
}

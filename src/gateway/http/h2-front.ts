import type { Socket } from 'node:net';
import type { GatewayCore, H2Front } from '../core.ts';
import { H2Connection } from './h2-connection.ts';
import type { H2Shared, PinnedScope, RunExchange } from './h2-connection.ts';
import { H2_LIMITS } from './h2-limits.ts';
import type { H2Limits } from './h2-limits.ts';
import { HttpWatch } from './watch.ts';

export interface H2FrontOptions {
  readonly run: RunExchange;
  /** Bounds that differ from the defaults. */
  readonly limits?: Partial<H2Limits>;
}

/** Creates the HTTP/2 side of a gateway towards its clients. */
export function createH2Front(core: GatewayCore, options: H2FrontOptions): H2Front {
  return new Front(core, options);
}

class Front implements H2Front {
  readonly #connections = new Set<H2Connection>();
  readonly #watch: HttpWatch;
  readonly #shared: H2Shared;
  #closed = false;

  constructor(core: GatewayCore, { run, limits }: H2FrontOptions) {
    this.#watch = new HttpWatch(core.limits);
    this.#shared = {
      core,
      run,
      limits: { ...H2_LIMITS, ...limits },
      streams: 0,
      onGone: (connection) => {
        this.#connections.delete(connection);
        this.#watch.release(connection);
      },
    };
  }

  serve(socket: Socket, scope: PinnedScope): void {
    if (this.#closed || socket.destroyed) return void socket.destroy();
    const connection = new H2Connection(this.#shared, socket, scope);
    this.#connections.add(connection);
    this.#watch.add(connection);
  }

  close(): void {
    this.#closed = true;
    for (const connection of this.#connections) connection.destroy();
  }
}

import type { Socket } from 'node:net';
import { recordDeny } from '../core.ts';
import type { GatewayCore, HttpFront, HttpScope } from '../core.ts';
import { problemOf } from '../problem.ts';
import { ClientConnection } from './client-side.ts';
import { runExchange } from './exchange.ts';
import { malformed, scopePlace } from './judge.ts';
import { HttpWatch } from './watch.ts';

/** Creates the HTTP half of a gateway. */
export function createHttpFront(core: GatewayCore): HttpFront {
  return new Front(core);
}

class Front implements HttpFront {
  readonly #core: GatewayCore;
  readonly #watch: HttpWatch;
  #closed = false;

  constructor(core: GatewayCore) {
    this.#core = core;
    this.#watch = new HttpWatch(core.limits);
  }

  serve(socket: Socket, scope: HttpScope): void {
    if (socket.destroyed || this.#closed) return void socket.destroy();
    const handlers = {
      exchange: (exchange: Parameters<typeof runExchange>[2]): void =>
        runExchange(this.#core, scope, exchange),
      malformed: (status: number, why: string): ReturnType<typeof problemOf> => {
        const verdict = malformed(why);
        recordDeny(this.#core, scopePlace(scope), verdict);
        return problemOf(status, verdict);
      },
    };
    new ClientConnection(socket, handlers, this.#core.limits, this.#watch).start();
  }

  close(): void {
    this.#closed = true;
  }
}

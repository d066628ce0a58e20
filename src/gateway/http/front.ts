import type { Socket } from 'node:net';
import { recordDeny } from '../core.ts';
import type { GatewayCore, HttpFront, HttpScope } from '../core.ts';
import { problemOf } from '../problem.ts';
import type { Problem } from '../problem.ts';
import { ClientConnection } from './client-side.ts';
import type { ClientExchange } from './contract.ts';
import { runExchange } from './exchange.ts';
import { malformed, scopePlace } from './judge.ts';
import { LastJudged } from './last-judged.ts';
import { recordUnread } from './unread.ts';
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
    const last = scope.kind === 'pinned' ? new LastJudged() : undefined;
    const handlers = {
      exchange: (exchange: ClientExchange): void => runExchange(this.#core, scope, exchange, last),
      malformed: (status: number, why: string, part: 'head' | 'body'): Problem =>
        this.#refuse(scope, status, why, part),
    };
    new ClientConnection(socket, handlers, this.#core.limits, this.#watch).start();
  }

  /** A head that cannot be read is a request too, though nothing is known of it; of a broken body its exchange tells. */
  #refuse(scope: HttpScope, status: number, why: string, part: 'head' | 'body'): Problem {
    const verdict = malformed(why);
    if (part === 'head') recordUnread(this.#core, scope, verdict, { http: '1.1', status });
    else recordDeny(this.#core, scopePlace(scope), verdict);
    return problemOf(status, verdict);
  }

  close(): void {
    this.#closed = true;
  }
}

import { Agent } from 'node:http';
import type { ClientRequestArgs } from 'node:http';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { GloveboxError } from '../base/errors.ts';
import type { Verdict } from './contract.ts';
import { failedSummary, summaryOf } from './core.ts';
import type { GatewayCore } from './core.ts';
import type { Allowed } from './decide.ts';

/** A request's way through the pool: its destination travels with the options. */
export interface PooledRequest extends ClientRequestArgs {
  readonly glovebox: Allowed;
}

/** Policy refused every address of the destination, or a budget its connection. */
export class UpstreamDenied extends GloveboxError {
  readonly verdict: Verdict;

  constructor(verdict: Verdict) {
    super('E_EGRESS_DENIED', { what: verdict.reason });
    this.verdict = verdict;
  }
}

/** No vetted address could be reached. */
export class UpstreamFailed extends GloveboxError {
  constructor(why: string) {
    super('E_EGRESS_DENIED', { what: why });
  }
}

/**
 * Keep-alive connections to origins, pinned: each was opened to a vetted address of one host and port under one rule, and carries
 * requests of that rule only. A new connection is resolved and vetted anew.
 */
export class PinnedAgent extends Agent {
  readonly #core: GatewayCore;
  readonly #addresses = new WeakMap<object, string>();
  readonly #strays = new WeakMap<object, () => void>();

  constructor(core: GatewayCore) {
    super({
      keepAlive: true,
      maxSockets: core.limits.poolSockets,
      maxFreeSockets: core.limits.poolSockets,
      scheduling: 'lifo',
    });
    this.#core = core;
  }

  /** The vetted address that a connection was opened to. */
  addressOf(socket: object): string | undefined {
    return this.#addresses.get(socket);
  }

  override getName(options?: ClientRequestArgs): string {
    const target = targetOf(options);
    return target === undefined ? '(none)' : `${target.rule.id} ${target.host} ${target.port}`;
  }

  override createConnection(
    options: ClientRequestArgs,
    callback?: (error: Error | null, stream: Duplex) => void,
  ): undefined {
    void this.#answer(targetOf(options), (...result) => {
      // Node's types want a stream beside an error; there is none (lib/_http_agent.js oncreate looks at the error first).
      if (callback !== undefined) Reflect.apply(callback, undefined, result);
    });
    return undefined;
  }

  /** An idle connection that says something is poisoned: its bytes would be taken for the answer to the next request. */
  override keepSocketAlive(stream: Duplex): boolean {
    // The types say void; Node answers false when the origin's own Keep-Alive header rules reuse out.
    const kept: unknown = super.keepSocketAlive(stream);
    if (kept === false || !(stream instanceof Socket)) return false;
    const stray = (): void => void stream.destroy();
    this.#strays.set(stream, stray);
    stream.on('data', stray);
    const { poolIdleMs } = this.#core.limits;
    // The agent itself destroys a free connection on "timeout"; the origin's hint may be shorter already.
    if ((stream.timeout ?? 0) === 0 || (stream.timeout ?? 0) > poolIdleMs) stream.setTimeout(poolIdleMs);
    return true;
  }

  override reuseSocket(stream: Duplex, request: Parameters<Agent['reuseSocket']>[1]): void {
    const stray = this.#strays.get(stream);
    if (stray !== undefined) stream.off('data', stray);
    if (stream instanceof Socket) stream.setTimeout(0);
    super.reuseSocket(stream, request);
  }

  async #answer(target: Allowed | undefined, done: (error: unknown, socket?: Socket) => void): Promise<void> {
    try {
      done(null, await this.#open(target));
    } catch (error) {
      done(error);
    }
  }

  async #open(target: Allowed | undefined): Promise<Socket> {
    if (target === undefined)
      throw new GloveboxError('E_INTERNAL', { what: 'a pooled request without a destination' });
    const startedAt = Date.now();
    const over = this.#core.budgets.take(target.rule, 'connections');
    if (over !== undefined) throw new UpstreamDenied(over);
    const vetted = await this.#core.upstream.vet(target);
    if (vetted.state === 'denied') throw new UpstreamDenied(vetted.verdict);
    if (vetted.state === 'failed') return this.#fail(target, startedAt, vetted.why);
    const dialled = await this.#core.upstream.dial(vetted.addresses, target.port);
    if (dialled.state === 'failed') return this.#fail(target, startedAt, dialled.why);
    this.#account(dialled.socket, target, startedAt);
    this.#addresses.set(dialled.socket, dialled.address);
    return dialled.socket;
  }

  #fail(target: Allowed, startedAt: number, why: string): never {
    this.#core.ledger.finished(failedSummary(target, startedAt));
    throw new UpstreamFailed(why);
  }

  #account(socket: Socket, target: Allowed, startedAt: number): void {
    // The dialler leaves sockets half-open at the peer's end; an HTTP connection that was ended is over.
    socket.allowHalfOpen = false;
    socket.once('close', (hadError) => {
      const bytes = { upBytes: socket.bytesWritten, downBytes: socket.bytesRead };
      this.#core.ledger.finished(
        summaryOf(target, startedAt, { ...bytes, end: hadError ? 'reset' : 'closed' }),
      );
    });
  }
}

function targetOf(options: ClientRequestArgs | undefined): Allowed | undefined {
  return options !== undefined && isPooled(options) ? options.glovebox : undefined;
}

function isPooled(options: ClientRequestArgs): options is PooledRequest {
  return 'glovebox' in options;
}

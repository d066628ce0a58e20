import type { Socket } from 'node:net';
import { isGloveboxError, systemCode } from '../base/errors.ts';
import { parseIp } from '../net/ip.ts';
import type { Dialler, Resolver, Verdict } from './contract.ts';
import type { Entry } from './core.ts';
import { HOST_LOOPBACK } from './decide.ts';
import type { Allowed, Judge } from './decide.ts';
import type { GatewayLimits } from './limits.ts';
import type { ParentProxy } from './parent.ts';

type Limits = Pick<GatewayLimits, 'resolveMs' | 'dialMs' | 'dialAddresses'>;

/** Vetted addresses; or a refusal by policy; or a failure of the network, which is no decision. */
export type Vetted =
  | { readonly state: 'ok'; readonly addresses: readonly string[] }
  | { readonly state: 'denied'; readonly verdict: Verdict }
  | { readonly state: 'failed'; readonly why: string };

export type Dialled =
  | { readonly state: 'ok'; readonly socket: Socket; readonly address: string }
  | { readonly state: 'failed'; readonly why: string; readonly address: string | undefined };

/** What a connection is for. */
export interface Purpose {
  readonly target: Allowed;
  readonly entry: Entry;
}

/** A connection that was cut because its address is denied now. */
export interface CutAddress extends Purpose {
  readonly verdict: Verdict;
}

interface Live extends Purpose {
  readonly address: string;
}

/** Resolves once, vets every address, and dials only what was vetted. */
export class Upstream {
  readonly #judge: Judge;
  readonly #resolver: Resolver;
  readonly #dialler: Dialler;
  readonly #limits: Limits;
  readonly #closing: AbortSignal;
  readonly #track: (socket: Socket) => void;
  readonly #live = new Map<Socket, Live>();
  #parent: ParentProxy | undefined;

  constructor(parts: {
    readonly judge: Judge;
    readonly resolver: Resolver;
    readonly dialler: Dialler;
    readonly limits: Limits;
    readonly closing: AbortSignal;
    readonly track: (socket: Socket) => void;
    readonly parent?: ParentProxy | undefined;
  }) {
    this.#judge = parts.judge;
    this.#resolver = parts.resolver;
    this.#dialler = parts.dialler;
    this.#limits = parts.limits;
    this.#closing = parts.closing;
    this.#track = parts.track;
    this.#parent = parts.parent;
  }

  /** Connections from now on go through another parent proxy, or through none. */
  useParent(parent: ParentProxy | undefined): void {
    this.#parent = parent;
  }

  /** Forbidden addresses among the answers are dropped; when none is left, the first refusal is the answer. */
  async vet(target: Allowed): Promise<Vetted> {
    // Only a rule that names `host-loopback` gets here with this kind: the one way to 127.0.0.1.
    if (target.kind === HOST_LOOPBACK) return { state: 'ok', addresses: ['127.0.0.1'] };
    const answers = await this.#resolve(target);
    if (typeof answers === 'string') return { state: 'failed', why: answers };
    const good: string[] = [];
    let refusal: Verdict | undefined;
    for (const answer of answers) {
      const verdict = this.#judgeAnswer(target, answer);
      if (verdict === undefined) good.push(parseIp(answer)?.text ?? answer);
      else refusal ??= verdict;
    }
    if (good.length > 0) return { state: 'ok', addresses: good.slice(0, this.#limits.dialAddresses) };
    if (refusal === undefined) return { state: 'failed', why: `${target.host} has no address` };
    return {
      state: 'denied',
      verdict: { ...refusal, reason: `${target.host} resolves to a forbidden address: ${refusal.reason}` },
    };
  }

  /** Tries the addresses one after another, each with a time limit of its own. */
  async dial(addresses: readonly string[], purpose: Purpose): Promise<Dialled> {
    const { port } = purpose.target;
    const dialler = this.#diallerFor(purpose.target);
    let why = 'no address';
    for (const address of addresses) {
      if (this.#closing.aborted) break;
      try {
        const socket = await this.#within(this.#limits.dialMs, (signal) =>
          dialOne(dialler, { address, port }, signal),
        );
        socket.on('error', () => socket.destroy());
        // `recheck` knows only what is connected; this was vetted before a change of the policy.
        if (this.#denialOf(purpose.target, address) !== undefined) {
          socket.destroy();
          why = `${address} port ${port}: the policy changed meanwhile, and denies it`;
          continue;
        }
        this.#keep(socket, { ...purpose, address });
        if (this.#closing.aborted) socket.destroy();
        return { state: 'ok', socket, address };
      } catch (error) {
        why = `${address} port ${port}: ${wordFor(error)}`;
      }
    }
    return { state: 'failed', why, address: addresses[0] };
  }

  /** Cuts the connections to names whose address a deny rule of the policy in force names. */
  recheck(): CutAddress[] {
    const cuts: CutAddress[] = [];
    for (const [socket, { target, entry, address }] of [...this.#live]) {
      const verdict = this.#denialOf(target, address);
      if (verdict === undefined || socket.destroyed) continue;
      socket.destroy();
      cuts.push({ target, entry, verdict });
    }
    return cuts;
  }

  /** What a deny rule of the policy in force says of the address of a name. */
  #denialOf(target: Allowed, address: string): Verdict | undefined {
    return target.kind === 'name' ? this.#judge.deniedAddress(address, target.port) : undefined;
  }

  #keep(socket: Socket, live: Live): void {
    this.#track(socket);
    this.#live.set(socket, live);
    socket.once('close', () => this.#live.delete(socket));
  }

  /** This machine's own loopback is not the parent proxy's: nothing but a direct connection reaches it. */
  #diallerFor({ kind, host, port }: Allowed): Dialler {
    const parent = kind === HOST_LOOPBACK ? undefined : this.#parent;
    return parent?.diallerFor(host, port) ?? this.#dialler;
  }

  async #resolve(target: Allowed): Promise<readonly string[] | string> {
    if (target.kind === 'ip') return [target.host];
    try {
      return await this.#within(this.#limits.resolveMs, (signal) =>
        this.#resolver.resolve(target.host, signal),
      );
    } catch (error) {
      return `${target.host} cannot be resolved: ${systemCode(error) ?? 'no answer'}`;
    }
  }

  #judgeAnswer(target: Allowed, answer: string): Verdict | undefined {
    return this.#judge.judgeAddress(answer, target.rule) ?? this.#judge.deniedAddress(answer, target.port);
  }

  /** Runs `work` until it is done, the time is up or the gateway closes. `AbortSignal.any` would pile up on the closing signal. */
  async #within<T>(timeoutMs: number, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const controller = new AbortController();
    const abort = (): void => controller.abort();
    const timer = setTimeout(abort, timeoutMs);
    this.#closing.addEventListener('abort', abort);
    try {
      // A resolver or dialler that ignores its signal must not hold the connection.
      return await Promise.race([work(controller.signal), aborted(controller.signal)]);
    } finally {
      clearTimeout(timer);
      this.#closing.removeEventListener('abort', abort);
    }
  }
}

/** A dialler that ignores its signal may still connect, late: that socket belongs to nobody. */
async function dialOne(
  dialler: Dialler,
  { address, port }: { readonly address: string; readonly port: number },
  signal: AbortSignal,
): Promise<Socket> {
  const socket = await dialler.dial(address, port, signal);
  if (signal.aborted) socket.destroy();
  return socket;
}

/** The parent proxy's failures have words of their own; the others a code of the system. */
function wordFor(error: unknown): string {
  if (isGloveboxError(error) && error.code === 'E_EGRESS_DENIED') return error.what;
  return systemCode(error) ?? 'no connection';
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(new Error('aborted')), { once: true });
  });
}

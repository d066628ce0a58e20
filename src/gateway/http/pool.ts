import type { Socket } from 'node:net';
import type { Verdict } from '../contract.ts';
import { failedSummary, summaryOf } from '../core.ts';
import type { Entry, GatewayCore } from '../core.ts';
import type { Allowed } from '../decide.ts';
import type {
  AcquireOptions,
  Acquired,
  OpenSession,
  OriginPool,
  UpstreamConnection,
  UpstreamSession,
} from './contract.ts';
import { H1Connection } from './upstream-h1.ts';

export type PoolParts = Pick<
  GatewayCore,
  'limits' | 'budgets' | 'upstream' | 'ledger' | 'tls' | 'openSession'
> & {
  /** Records that an origin could not prove who it is. */
  readonly onUntrusted: (entry: Entry, target: Allowed, verdict: Verdict) => void;
};

/** Somebody for whom there is no connection yet. */
interface Waiter {
  readonly wanted: () => boolean;
  readonly wake: () => void;
}

/** Waiting requests of which those that have left are not worth looking for. */
const SWEEP_LEAST = 64;

/** Connections to one host and port under one rule. */
interface Slot {
  readonly idle: H1Connection[];
  readonly sessions: UpstreamSession[];
  /** Open, and being opened. */
  live: number;
  waiting: Waiter[];
  /** At this many they are looked through for those that have left. */
  sweepAt: number;
  /** The first connection to an origin that may speak HTTP/2: the others wait whether it does. */
  opening: Promise<Acquired> | undefined;
  /** Opened under a former policy: what comes back is closed. */
  retired: boolean;
}

/** A connection that is open and can be given out; or why there is none. */
type Opened =
  | { readonly state: 'open'; readonly take: () => UpstreamConnection | undefined }
  | Exclude<Acquired, { state: 'ok' }>;

/** Opened for somebody who has left meanwhile, or under a policy that is not in force any more: whoever still wants one tries again. */
const STALE: Exclude<Acquired, { state: 'ok' }> = Object.freeze({
  state: 'failed',
  why: 'nobody waits for it any more',
});

/** Something threw on the way: the place that was taken must not stay taken. */
const DEFECT: Opened = Object.freeze({ state: 'failed', why: 'no connection could be made' });

/**
 * Keep-alive connections to origins, pinned: each was opened to a vetted address of one host and port under one rule and one
 * generation of the policy, and carries requests of that rule only. A new connection is resolved and vetted anew.
 */
export class UpstreamPool implements OriginPool {
  readonly #parts: PoolParts;
  #slots = new Map<string, Slot>();
  /** The idle ones of all slots, the longest first: a wildcard rule has any number of hosts. */
  readonly #resting = new Set<H1Connection>();
  #sweep: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(parts: PoolParts) {
    this.#parts = parts;
  }

  take(target: Allowed, options: AcquireOptions): UpstreamConnection | undefined {
    const slot = this.#slots.get(keyOf(target, options));
    return slot === undefined ? undefined : this.#takeFrom(slot);
  }

  async acquire(target: Allowed, options: AcquireOptions): Promise<Acquired> {
    while (options.wanted()) {
      if (this.#closed) return { state: 'failed', why: 'the gateway closes' };
      // Looked up each time: the policy may have changed while this waited.
      const slot = this.#slotOf(keyOf(target, options));
      const connection = this.#takeFrom(slot);
      if (connection !== undefined) return { state: 'ok', connection };
      const acquired = await this.#waitOrOpen(slot, target, options);
      if (acquired !== undefined && acquired !== STALE) return acquired;
    }
    return STALE;
  }

  /** Undefined: something has changed, so it is worth another look. */
  async #waitOrOpen(slot: Slot, target: Allowed, options: AcquireOptions): Promise<Acquired | undefined> {
    if (slot.opening !== undefined && options.http2) {
      const first = await slot.opening;
      return first.state !== 'ok' && slot.live === 0 ? first : undefined;
    }
    if (slot.live < this.#parts.limits.poolSockets) return this.#openFirst(slot, target, options);
    await new Promise<void>((wake) => wait(slot, { wanted: options.wanted, wake }));
    return undefined;
  }

  retire(): void {
    for (const slot of this.#slots.values()) {
      for (const connection of slot.idle.splice(0)) connection.destroy();
      for (const session of slot.sessions.splice(0)) session.retire();
      slot.retired = true;
      for (const { wake } of slot.waiting.splice(0)) wake();
    }
    this.#slots = new Map();
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#sweep);
    this.#sweep = undefined;
    this.retire();
  }

  #slotOf(key: string): Slot {
    const known = this.#slots.get(key);
    if (known !== undefined) return known;
    const slot: Slot = {
      idle: [],
      sessions: [],
      live: 0,
      waiting: [],
      sweepAt: SWEEP_LEAST,
      opening: undefined,
      retired: false,
    };
    this.#slots.set(key, slot);
    return slot;
  }

  #takeFrom(slot: Slot): UpstreamConnection | undefined {
    for (const session of slot.sessions) {
      const stream = session.open();
      if (stream !== undefined) return stream;
    }
    // The latest one first: it is the least likely to be closed by the origin just now.
    for (let connection = slot.idle.pop(); connection !== undefined; connection = slot.idle.pop()) {
      this.#resting.delete(connection);
      if (!connection.socket.destroyed && Date.now() < connection.idleUntil) return connection.turn();
      connection.destroy();
    }
    return undefined;
  }

  async #openFirst(slot: Slot, target: Allowed, options: AcquireOptions): Promise<Acquired> {
    slot.live++;
    const opening = this.#openOne(slot, target, options);
    if (!options.http2 || slot.opening !== undefined) return opening;
    slot.opening = opening;
    try {
      return await opening;
    } finally {
      slot.opening = undefined;
    }
  }

  /** Precondition: `slot.live` counts this connection already. */
  async #openOne(slot: Slot, target: Allowed, options: AcquireOptions): Promise<Acquired> {
    const startedAt = Date.now();
    const opened = await this.#open(slot, target, options, startedAt).catch((): Opened => DEFECT);
    if (opened.state === 'open') {
      const connection = opened.take();
      if (slot.retired) {
        // What it was vetted and verified by does not count any more.
        connection?.abort();
        return STALE;
      }
      return connection === undefined
        ? { state: 'failed', why: 'the connection was closed' }
        : { state: 'ok', connection };
    }
    slot.live--;
    wakeOne(slot);
    if (opened.state === 'failed' && opened !== STALE)
      this.#parts.ledger.finished(failedSummary(target, startedAt));
    return opened;
  }

  async #open(slot: Slot, target: Allowed, options: AcquireOptions, startedAt: number): Promise<Opened> {
    const { budgets, upstream, tls } = this.#parts;
    const over = budgets.take(target.rule, 'connections');
    if (over !== undefined) return { state: 'denied', verdict: over };
    const vetted = await upstream.vet(target);
    if (vetted.state !== 'ok') return vetted;
    if (slot.retired || !options.wanted()) return STALE;
    const dialled = await upstream.dial(vetted.addresses, { target, entry: options.entry });
    if (dialled.state === 'failed') return { state: 'failed', why: dialled.why };
    const { socket, address } = dialled;
    if (!options.secure) return this.#keep(slot, { target, socket, address, startedAt });
    const openSession = options.http2 ? await this.#parts.openSession?.() : undefined;
    const verified = await (
      await tls()
    ).secureDial(target, socket, openSession === undefined ? ['http/1.1'] : ['h2', 'http/1.1']);
    if (verified.state === 'untrusted') {
      this.#parts.onUntrusted(options.entry, target, verified.verdict);
      return { state: 'failed', why: verified.verdict.reason, verdict: verified.verdict };
    }
    if (verified.state === 'failed') return { state: 'failed', why: verified.why };
    const made = { target, socket: verified.socket, address, startedAt };
    return verified.alpn === 'h2' ? this.#keepSession(slot, made, openSession) : this.#keep(slot, made);
  }

  #keep(slot: Slot, made: Made): Opened {
    const connection = new H1Connection(made.socket, made.address, {
      idle: (each, maxIdleMs) => this.#idle(slot, each, maxIdleMs),
    });
    this.#account(slot, made);
    made.socket.once('close', () => {
      const index = slot.idle.indexOf(connection);
      if (index >= 0) slot.idle.splice(index, 1);
      this.#resting.delete(connection);
    });
    return { state: 'open', take: () => (made.socket.destroyed ? undefined : connection.turn()) };
  }

  #keepSession(slot: Slot, made: Made, open: OpenSession | undefined): Opened {
    const session = open?.(made.socket, made.address, made.target, () => wakeOne(slot));
    if (session === undefined) {
      made.socket.destroy();
      return { state: 'failed', why: 'the origin speaks HTTP/2 unasked' };
    }
    this.#account(slot, made);
    if (slot.retired) session.retire();
    else slot.sessions.push(session);
    made.socket.once('close', () => {
      const index = slot.sessions.indexOf(session);
      if (index >= 0) slot.sessions.splice(index, 1);
    });
    return { state: 'open', take: () => session.open() };
  }

  #account(slot: Slot, { socket, target, startedAt }: Made): void {
    socket.once('close', (hadError: boolean) => {
      slot.live--;
      const bytes = { upBytes: socket.bytesWritten, downBytes: socket.bytesRead };
      this.#parts.ledger.finished(
        summaryOf(target, startedAt, { ...bytes, end: hadError ? 'reset' : 'closed' }),
      );
      wakeOne(slot);
    });
  }

  #idle(slot: Slot, connection: H1Connection, maxIdleMs: number | undefined): void {
    const { poolIdle, poolIdleMs } = this.#parts.limits;
    const idleMs = Math.min(poolIdleMs, maxIdleMs ?? poolIdleMs);
    if (this.#closed || idleMs <= 0 || connection.socket.destroyed || slot.retired)
      return connection.destroy();
    connection.idleUntil = Date.now() + idleMs;
    slot.idle.push(connection);
    this.#resting.add(connection);
    if (this.#resting.size > poolIdle) this.#dropLongest();
    this.#sweep ??= setInterval(() => this.#dropStale(), Math.max(50, poolIdleMs / 4)).unref();
    wakeOne(slot);
  }

  #dropLongest(): void {
    const [longest] = this.#resting;
    if (longest === undefined) return;
    // Its "close" comes later, and the next one that rests must not find it here.
    this.#resting.delete(longest);
    longest.destroy();
  }

  #dropStale(): void {
    const now = Date.now();
    let left = 0;
    for (const [key, slot] of this.#slots) {
      for (const connection of slot.idle.filter((each) => each.idleUntil <= now)) connection.destroy();
      left += slot.idle.length;
      if (slot.live === 0 && slot.waiting.length === 0 && slot.opening === undefined) this.#slots.delete(key);
    }
    if (left > 0) return;
    clearInterval(this.#sweep);
    this.#sweep = undefined;
  }
}

interface Made {
  readonly target: Allowed;
  readonly socket: Socket;
  readonly address: string;
  readonly startedAt: number;
}

function wait(slot: Slot, waiter: Waiter): void {
  slot.waiting.push(waiter);
  if (slot.waiting.length < slot.sweepAt) return;
  // Clients come and leave for as long as every connection is busy.
  for (const { wanted, wake } of slot.waiting) if (!wanted()) wake();
  slot.waiting = slot.waiting.filter(({ wanted }) => wanted());
  slot.sweepAt = Math.max(SWEEP_LEAST, 2 * slot.waiting.length);
}

/** Whoever has left passes it on: else a free connection would lie there while others wait. */
function wakeOne(slot: Slot): void {
  for (let next = slot.waiting.shift(); next !== undefined; next = slot.waiting.shift()) {
    next.wake();
    if (next.wanted()) return;
  }
}

function keyOf(target: Allowed, options: AcquireOptions): string {
  const scheme = options.secure ? (options.http2 ? 's2' : 's') : 'p';
  return `${target.rule.id} ${target.host} ${target.port} ${scheme}`;
}

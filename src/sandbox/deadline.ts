import { GloveboxError } from '../base/errors.ts';

/** Why time is over: the end that was set, or that nothing happened. */
export type TimeUp = 'ttl' | 'idle';

export interface DeadlineInput {
  /** Milliseconds from now; absent: none. */
  readonly ttlMs?: number;
  /** Milliseconds from now that no renewal can pass: what the policy says. */
  readonly mostMs?: number;
  readonly idleMs?: number;
  /** True while something is going on that the caller asked for. */
  readonly busy: () => boolean;
  readonly over: (why: TimeUp) => void;
  /** Told about each new end, in milliseconds since the epoch, before it counts. */
  readonly persist: (endAt: number | undefined) => void;
}

/** The longest that a timer of Node can wait, in ms: a longer one would fire at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/**
 * When a sandbox ends. Expiry and renewal are decided in one place: once it is over, a renewal is refused; once a renewal has
 * answered, the old end no longer counts.
 */
export class Deadline {
  readonly #input: DeadlineInput;
  #born = performance.now();
  /** The end on the clock of `performance.now()`, which nobody sets, and what it was called on the wall clock. */
  #endsAt: number | undefined;
  #endAt: number | undefined;
  #lastUse = performance.now();
  #timer: NodeJS.Timeout | undefined;
  #over = false;

  constructor(input: DeadlineInput) {
    this.#input = input;
    const ttl = smaller(input.ttlMs, input.mostMs);
    if (ttl !== undefined) this.#put(ttl);
    this.#arm();
  }

  /** Milliseconds since the epoch; undefined without an end. */
  get endAt(): number | undefined {
    return this.#endAt;
  }

  /**
   * Sets the end to so many milliseconds from now; 0 takes it away.
   *
   * @throws E_SANDBOX_CLOSED when time was up already, E_LIMIT_EXCEEDED beyond what the policy allows
   */
  renew(ttlMs: number): void {
    if (this.#over) throw new GloveboxError('E_SANDBOX_CLOSED', { what: 'the time of the sandbox is over' });
    if (!Number.isFinite(ttlMs) || ttlMs < 0) {
      throw new GloveboxError('E_USAGE', { what: `${ttlMs} is no number of milliseconds` });
    }
    this.#refuseBeyond(ttlMs);
    this.#put(ttlMs === 0 ? undefined : ttlMs);
    this.#arm();
  }

  /** Life begins anew, with all that the policy allows: what was before was waiting. */
  restart(ttlMs: number | undefined): void {
    if (this.#over) throw new GloveboxError('E_SANDBOX_CLOSED', { what: 'the time of the sandbox is over' });
    this.#born = performance.now();
    this.touch();
    this.#put(smaller(ttlMs === 0 ? undefined : ttlMs, this.#input.mostMs));
    this.#arm();
  }

  /** Something was asked of the sandbox. */
  touch(): void {
    this.#lastUse = performance.now();
  }

  stop(): void {
    this.#over = true;
    clearTimeout(this.#timer);
  }

  #refuseBeyond(ttlMs: number): void {
    const { mostMs } = this.#input;
    if (mostMs === undefined) return;
    const left = Math.max(0, Math.round(mostMs - (performance.now() - this.#born)));
    if (ttlMs > 0 && ttlMs <= left) return;
    throw new GloveboxError('E_LIMIT_EXCEEDED', {
      what: `the policy ends this sandbox in ${left} ms at the latest`,
      next: 'Ask for less, or raise limits.ttl in the policy of the next one.',
      context: { leftMs: left },
    });
  }

  #put(ttlMs: number | undefined): void {
    const endAt = ttlMs === undefined ? undefined : Date.now() + ttlMs;
    this.#input.persist(endAt);
    this.#endAt = endAt;
    this.#endsAt = ttlMs === undefined ? undefined : performance.now() + ttlMs;
  }

  /** One timer for whichever end is nearer; at its time the ends are looked at again. */
  #arm(): void {
    clearTimeout(this.#timer);
    if (this.#over) return;
    const wait = smaller(this.#endsAt, this.#idleAt());
    if (wait === undefined) return;
    const ms = Math.min(Math.max(0, Math.ceil(wait - performance.now())), LONGEST_TIMER_MS);
    this.#timer = setTimeout(() => this.#look(), ms);
    this.#timer.unref();
  }

  #idleAt(): number | undefined {
    const { idleMs } = this.#input;
    return idleMs === undefined || idleMs === 0 ? undefined : this.#lastUse + idleMs;
  }

  #look(): void {
    const now = performance.now();
    if (this.#endsAt !== undefined && now >= this.#endsAt) return this.#end('ttl');
    if (this.#input.busy()) this.#lastUse = now;
    const idleAt = this.#idleAt();
    if (idleAt !== undefined && now >= idleAt) return this.#end('idle');
    this.#arm();
  }

  #end(why: TimeUp): void {
    this.stop();
    this.#input.over(why);
  }
}

function smaller(one: number | undefined, other: number | undefined): number | undefined {
  if (one === undefined || other === undefined) return one ?? other;
  return Math.min(one, other);
}

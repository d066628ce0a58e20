import type { NetworkEvent } from './contract.ts';
import type { GatewayLimits } from './limits.ts';

type Limits = Pick<GatewayLimits, 'refusalKeys' | 'refusalBurst' | 'refusalsPerSecond' | 'flushMs'>;

interface Counted {
  readonly event: NetworkEvent;
  repeats: number;
}

/** Key under which refusals are counted once their number passes the burst: hosts and ports are the sandbox's to invent. */
const MANY_HOSTS = '(many hosts)';

/**
 * Hands decisions to the sink. Every decision is recorded once; a refusal equal to an earlier one (entry, host, port, rule) is
 * counted and recorded again with `repeats`. What a sandbox can invent is bounded in memory and in rate.
 */
export class EventLog {
  readonly #sink: (event: NetworkEvent) => void;
  readonly #limits: Limits;
  readonly #now: () => number;
  readonly #refusals = new Map<string, Counted>();
  #allowedNames = new Set<string>();
  #tokens: number;
  #refilledAt: number;
  #timer: NodeJS.Timeout | undefined;
  #denied = 0;
  #closed = false;

  constructor(sink: (event: NetworkEvent) => void, limits: Limits, now: () => number = Date.now) {
    this.#sink = sink;
    this.#limits = limits;
    this.#now = now;
    this.#tokens = limits.refusalBurst;
    this.#refilledAt = now();
  }

  /** Refusals so far, repeats included. */
  get denied(): number {
    return this.#denied;
  }

  /** Records one decision. */
  record(event: NetworkEvent): void {
    if (event.action === 'allow') {
      if (this.#isNews(event)) this.#sink(event);
      return;
    }
    this.#denied++;
    if (this.#countRepeat(keyOf(event))) return;
    if (this.#takeToken()) {
      this.#sink(event);
      this.#remember(event);
      return;
    }
    const { remedy: _remedy, source: _source, ...rest } = event;
    const merged: NetworkEvent = {
      ...rest,
      host: MANY_HOSTS,
      port: 0,
      reason: 'more refusals of other hosts than are listed one by one',
    };
    if (!this.#countRepeat(keyOf(merged))) this.#remember(merged, 1);
  }

  /** Records the counted repeats now. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const counted of this.#refusals.values()) this.#report(counted);
  }

  /** Another policy is in force: its answers are news again. */
  renew(): void {
    this.#allowedNames = new Set();
  }

  close(): void {
    this.flush();
    this.#closed = true;
  }

  /** A name is asked for by every connection; one record of the answer says it all. The synthetic pool bounds the set. */
  #isNews(event: NetworkEvent): boolean {
    if (event.entry !== 'dns') return true;
    if (this.#allowedNames.has(event.host)) return false;
    this.#allowedNames.add(event.host);
    return true;
  }

  #countRepeat(key: string): boolean {
    const known = this.#refusals.get(key);
    if (known === undefined) return false;
    known.repeats++;
    this.#schedule();
    return true;
  }

  #remember(event: NetworkEvent, repeats = 0): void {
    const [oldest] = this.#refusals;
    if (oldest !== undefined && this.#refusals.size >= this.#limits.refusalKeys) {
      this.#report(oldest[1]);
      this.#refusals.delete(oldest[0]);
    }
    this.#refusals.set(keyOf(event), { event, repeats });
    if (repeats > 0) this.#schedule();
  }

  #report(counted: Counted): void {
    if (counted.repeats === 0) return;
    const repeats = counted.repeats;
    counted.repeats = 0;
    this.#sink({ ...counted.event, repeats });
  }

  #takeToken(): boolean {
    const now = this.#now();
    const refill = ((now - this.#refilledAt) / 1000) * this.#limits.refusalsPerSecond;
    this.#tokens = Math.min(this.#limits.refusalBurst, this.#tokens + refill);
    this.#refilledAt = now;
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }

  #schedule(): void {
    if (this.#closed || this.#timer !== undefined) return;
    this.#timer = setTimeout(() => this.flush(), this.#limits.flushMs);
    this.#timer.unref();
  }
}

function keyOf(event: NetworkEvent): string {
  return `${event.entry} ${event.rule} ${event.port} ${event.host}`;
}

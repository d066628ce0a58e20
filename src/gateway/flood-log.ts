import type { GatewayLimits } from './limits.ts';

type Limits = Pick<GatewayLimits, 'recordBurst' | 'recordsPerSecond' | 'foldKeys' | 'foldMs'>;

interface Folded<T> {
  item: T;
  repeats: number;
}

/** What a kind of record is folded by, and how two of them become one. */
export interface Folding<T> {
  readonly key: (item: T) => string;
  /** What is never mixed, however many keys there are: made of the policy's words alone, so that a sandbox cannot invent any. */
  readonly group: (item: T) => string;
  /** One record for both; sums are added up. */
  readonly merge: (held: T, next: T) => T;
}

/**
 * Hands records to the sink one by one, and like ones together while there are too many: a sandbox decides how many requests and
 * connections it makes, and must not fill the host's disk with their records. Nothing is left out; `repeats` says how many more.
 */
export class FloodLog<T extends object> {
  readonly #sink: (item: T & { readonly repeats?: number }) => void;
  readonly #folding: Folding<T>;
  readonly #limits: Limits;
  readonly #now: () => number;
  readonly #folded = new Map<string, Folded<T>>();
  #tokens: number;
  #refilledAt: number;
  #timer: NodeJS.Timeout | undefined;

  constructor(
    sink: (item: T & { readonly repeats?: number }) => void,
    folding: Folding<T>,
    limits: Limits,
    now: () => number = Date.now,
  ) {
    this.#sink = sink;
    this.#folding = folding;
    this.#limits = limits;
    this.#now = now;
    this.#tokens = limits.recordBurst;
    this.#refilledAt = now();
  }

  record(item: T): void {
    if (this.#takeToken()) return this.#sink(item);
    const key = this.#keyOf(item);
    const known = this.#folded.get(key);
    if (known === undefined) this.#folded.set(key, { item, repeats: repeatsOf(item) });
    else {
      known.item = this.#folding.merge(known.item, item);
      known.repeats += 1 + repeatsOf(item);
    }
    this.#timer ??= setTimeout(() => this.flush(), this.#limits.foldMs).unref();
  }

  /** Records what is held back; also when the gateway closes. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const held = [...this.#folded.values()];
    this.#folded.clear();
    for (const { item, repeats } of held) this.#sink(repeats === 0 ? item : { ...item, repeats });
  }

  /** Keys are made of what a sandbox chooses: past so many of them the rest is one for each group, so that nothing hides in another's. */
  #keyOf(item: T): string {
    const key = this.#folding.key(item);
    const isFull = this.#folded.size >= this.#limits.foldKeys;
    return isFull && !this.#folded.has(key) ? `\n${this.#folding.group(item)}` : key;
  }

  #takeToken(): boolean {
    const now = this.#now();
    const refill = ((now - this.#refilledAt) / 1000) * this.#limits.recordsPerSecond;
    this.#tokens = Math.min(this.#limits.recordBurst, this.#tokens + Math.max(0, refill));
    this.#refilledAt = now;
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }
}

/** A record may stand for several already. */
function repeatsOf(item: object): number {
  return 'repeats' in item && typeof item.repeats === 'number' ? item.repeats : 0;
}

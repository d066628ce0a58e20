import type { H2Limits } from './h2-limits.ts';

/** What a peer can do for nothing, as often as it likes. */
export type FloodKind = 'resets' | 'malformed' | 'pings' | 'settings' | 'idleBytes';

const WORDS: Readonly<Record<FloodKind, string>> = {
  resets: 'streams were reset before they were answered',
  malformed: 'streams were malformed',
  pings: 'PING frames came',
  settings: 'SETTINGS frames came',
  idleBytes: 'bytes of frames without a use came',
};

/** Counts per window what a peer does, and says once when it is too much. */
export class FloodMeter {
  readonly #limits: H2Limits;
  readonly #onFlood: (why: string) => void;
  readonly #now: () => number;
  #counts: Partial<Record<FloodKind, number>> = {};
  #since: number;
  #over = false;

  constructor(limits: H2Limits, onFlood: (why: string) => void, now: () => number = Date.now) {
    this.#limits = limits;
    this.#onFlood = onFlood;
    this.#now = now;
    this.#since = now();
  }

  note(kind: FloodKind, amount = 1): void {
    if (this.#over) return;
    const now = this.#now();
    if (now - this.#since >= this.#limits.windowMs) {
      this.#since = now;
      this.#counts = {};
    }
    const count = (this.#counts[kind] ?? 0) + amount;
    this.#counts[kind] = count;
    if (count <= this.#limits[kind]) return;
    this.#over = true;
    this.#onFlood(`over ${this.#limits[kind]} ${WORDS[kind]} within ${this.#limits.windowMs / 1000} s`);
  }
}

/** Tells the bytes of a connection that served a purpose from those that did not: window updates, priorities, unknown frames, padding. */
export class UseMeter {
  readonly #shareOfAll = 8;
  #read = 0;
  #all = 0;
  #useful = 0;
  #since: number;

  constructor(now: number) {
    this.#since = now;
  }

  /** Bytes of heads and bodies. */
  used(bytes: number): void {
    this.#useful += bytes;
  }

  /** Once a window: bytes received without a use in it, given the totals of the connection. */
  take(now: number, windowMs: number, totals: { readonly read: number; readonly written: number }): number {
    if (now - this.#since < windowMs) return 0;
    const all = totals.read + totals.written;
    const allowed = this.#useful + (all - this.#all) / this.#shareOfAll;
    const idle = totals.read - this.#read - allowed;
    this.#since = now;
    this.#read = totals.read;
    this.#all = all;
    this.#useful = 0;
    return Math.max(0, idle);
  }
}

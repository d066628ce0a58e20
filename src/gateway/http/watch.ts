import type { GatewayLimits } from '../limits.ts';

type Limits = Pick<GatewayLimits, 'headMs' | 'idleMs' | 'stallMs' | 'upstreamIdleMs'>;

/** A connection whose time is looked at. */
export interface Watched {
  /** Looks at the clock, and ends the connection when one of its limits has passed. */
  tick(now: number): void;
}

/** Time limits of HTTP connections by one sweep over all of them: no timer per request. */
export class HttpWatch {
  readonly #everyMs: number;
  readonly #watched = new Set<Watched>();
  #timer: NodeJS.Timeout | undefined;

  constructor({ headMs, idleMs, stallMs }: Limits) {
    this.#everyMs = Math.max(50, Math.min(5_000, Math.min(headMs, idleMs, stallMs) / 3));
  }

  add(connection: Watched): void {
    this.#watched.add(connection);
    this.#timer ??= setInterval(() => this.#sweep(), this.#everyMs).unref();
  }

  /** The connection is no longer HTTP, or is gone. */
  release(connection: Watched): void {
    this.#watched.delete(connection);
    if (this.#watched.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #sweep(): void {
    const now = Date.now();
    for (const connection of this.#watched) connection.tick(now);
  }
}

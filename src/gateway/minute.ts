/** Pieces of a minute that are counted apart. */
const PIECES = 12;
const PIECE_MS = 60_000 / PIECES;
/** The piece under way and all that the last 60 seconds touch. */
const KEPT = PIECES + 1;

/**
 * Counts events of the last minute in a ring of pieces. A piece counts until all of it is older than 60 seconds, so that a limit held
 * against `count` holds for every span of 60 seconds, wherever it begins; a place is free again after 60 to 65 seconds.
 */
export class MinuteCount {
  readonly #counts = Array.from({ length: KEPT }, () => 0);
  #sum = 0;
  /** Number of the piece under way. */
  #piece = Number.NEGATIVE_INFINITY;

  add(now: number): void {
    this.#turn(now);
    this.#sum++;
    const slot = this.#slot(this.#piece);
    this.#counts[slot] = (this.#counts[slot] ?? 0) + 1;
  }

  count(now: number): number {
    this.#turn(now);
    return this.#sum;
  }

  /** A clock that was set back goes on in the piece it had reached: counts fall later, never sooner. */
  #turn(now: number): void {
    const piece = Math.floor(now / PIECE_MS);
    if (piece <= this.#piece) return;
    const passed = Math.min(KEPT, piece - this.#piece);
    for (let back = 0; back < passed; back++) {
      const slot = this.#slot(piece - back);
      this.#sum -= this.#counts[slot] ?? 0;
      this.#counts[slot] = 0;
    }
    this.#piece = piece;
  }

  #slot(piece: number): number {
    return ((piece % KEPT) + KEPT) % KEPT;
  }
}

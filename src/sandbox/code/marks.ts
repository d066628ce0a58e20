/**
 * Finds the end of a cell's output in a stream. A kernel writes `\0id\0` to it after the cell, the id being random; everything
 * before belongs to the cell, everything behind to the next one.
 */
export class MarkedStream {
  readonly #take: (data: Buffer) => void;
  #mark: Buffer | undefined;
  #found: (() => void) | undefined;
  /** A tail that may be the beginning of the mark. */
  #held: Buffer = Buffer.alloc(0);

  constructor(take: (data: Buffer) => void) {
    this.#take = take;
  }

  /** Resolves when the mark has come. Asked for before the cell starts. */
  until(id: string): Promise<void> {
    this.#mark = Buffer.from(`\0${id}\0`);
    return new Promise((resolve) => {
      this.#found = resolve;
    });
  }

  push(data: Buffer): void {
    const mark = this.#mark;
    if (mark === undefined) return this.#pass(data);
    const all = this.#held.length === 0 ? data : Buffer.concat([this.#held, data]);
    const at = all.indexOf(mark);
    if (at >= 0) return this.#end(all, at, mark.length);
    const keep = partialLength(all, mark);
    this.#held = Buffer.from(all.subarray(all.length - keep));
    this.#pass(all.subarray(0, all.length - keep));
  }

  /** Nothing more comes: what was held back was no mark. */
  finish(): void {
    this.#mark = undefined;
    this.#pass(this.#held);
    this.#held = Buffer.alloc(0);
    this.#found?.();
  }

  #end(all: Buffer, at: number, length: number): void {
    this.#mark = undefined;
    this.#held = Buffer.alloc(0);
    this.#pass(all.subarray(0, at));
    this.#found?.();
    this.#pass(all.subarray(at + length));
  }

  #pass(data: Buffer): void {
    if (data.length > 0) this.#take(data);
  }
}

/** Length of the longest end of `data` that `mark` begins with. */
function partialLength(data: Buffer, mark: Buffer): number {
  const start = Math.max(0, data.length - mark.length + 1);
  for (let at = data.indexOf(0, start); at >= 0; at = data.indexOf(0, at + 1)) {
    const length = data.length - at;
    if (data.subarray(at).equals(mark.subarray(0, length))) return length;
  }
  return 0;
}

const NOTHING = new Uint8Array(0);
const LEAST = 256;
const SHORT = 96;

/** Bytes that are written one after the other; grows as needed. */
export class Sink {
  #bytes = NOTHING;
  length = 0;

  /** Makes room for `count` more and answers the array to write them into, from `length` on. */
  room(count: number): Uint8Array {
    if (this.length + count > this.#bytes.length) {
      const wider = new Uint8Array(Math.max(LEAST, this.length + count, this.#bytes.length * 2));
      wider.set(this.#bytes.subarray(0, this.length));
      this.#bytes = wider;
    }
    return this.#bytes;
  }

  push(byte: number): void {
    this.room(1)[this.length++] = byte;
  }

  append(data: Uint8Array): void {
    this.room(data.length).set(data, this.length);
    this.length += data.length;
  }

  /** Appends a piece of an array: short ones byte by byte, since a view on them would cost more than they do. */
  take(data: Uint8Array, from: number, end: number): void {
    const count = end - from;
    const to = this.room(count);
    if (count > SHORT) to.set(data.subarray(from, end), this.length);
    else for (let i = 0; i < count; i++) to[this.length + i] = data[from + i] ?? 0;
    this.length += count;
  }

  /** A copy of what was written from `from` on, which is taken back. */
  cut(from: number): Uint8Array {
    const piece = this.#bytes.slice(from, this.length);
    this.length = from;
    return piece;
  }

  /** What was written; valid until the next write. */
  bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.length);
  }
}

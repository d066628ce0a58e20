import { invalid } from '../invalid.ts';

/** Bytes from a stream of chunks, read by count. */
export class ByteSource {
  readonly #chunks: AsyncIterator<Uint8Array>;
  #rest: Buffer = Buffer.alloc(0);
  #at = 0;

  constructor(chunks: AsyncIterable<Uint8Array>) {
    this.#chunks = chunks[Symbol.asyncIterator]();
  }

  /** Up to `most` bytes, at least one; undefined at the end. The bytes are valid until the next call. */
  async some(most: number): Promise<Buffer | undefined> {
    while (this.#at === this.#rest.length) {
      const next = await this.#chunks.next();
      if (next.done === true) return undefined;
      this.#rest = Buffer.from(next.value.buffer, next.value.byteOffset, next.value.byteLength);
      this.#at = 0;
    }
    const end = Math.min(this.#rest.length, this.#at + most);
    const found = this.#rest.subarray(this.#at, end);
    this.#at = end;
    return found;
  }

  /** Exactly `count` bytes, or undefined when the stream ends before the first. @throws E_IMAGE_INVALID when it ends within */
  async exactly(count: number): Promise<Buffer | undefined> {
    const first = await this.some(count);
    if (first === undefined || first.length === count) return first;
    const whole = Buffer.alloc(count);
    let filled = first.copy(whole);
    while (filled < count) {
      const next = await this.some(count - filled);
      if (next === undefined) throw invalid('the archive is cut short', 'it ends in the middle of an entry');
      filled += next.copy(whole, filled);
    }
    return whole;
  }

  /** Passes over `count` bytes. @throws E_IMAGE_INVALID when there are fewer */
  async skip(count: number): Promise<void> {
    for (let left = count; left > 0;) {
      const next = await this.some(left);
      if (next === undefined) throw invalid('the archive is cut short', 'it ends in the middle of an entry');
      left -= next.length;
    }
  }

  /** Reads to the end, so that whoever counts and hashes the stream sees all of it. @throws E_IMAGE_INVALID beyond `most` */
  async drain(most: number): Promise<void> {
    for (let left = most; left >= 0;) {
      const next = await this.some(Number.MAX_SAFE_INTEGER);
      if (next === undefined) return;
      left -= next.length;
    }
    throw invalid('the archive goes on after its end');
  }

  /** Tells the stream that nobody reads on. */
  async close(): Promise<void> {
    await this.#chunks.return?.();
  }
}

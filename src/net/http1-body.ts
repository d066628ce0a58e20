import type { RawHeaders } from './http-head.ts';
import { readTrailers } from './http1-head.ts';

/** Trailer section of one body. */
const TRAILER_CAPS = { bytes: 8 * 1024, lines: 32 } as const;
/** Bytes of chunk extensions in one chunk line, and in a whole body: Node once read them without end (CVE-2024-22019). */
const EXTENSION_MAX = 256;
const EXTENSIONS_MAX = 16 * 1024;
/** 15 hexadecimal digits are more than 2^53 for the largest; those over it are refused by value. */
const SIZE_DIGITS_MAX = 15;

const NOTHING = Buffer.alloc(0);

/** A part of a body, decoded. */
type State = 'size' | 'extension' | 'size-lf' | 'data' | 'data-cr' | 'data-lf' | 'trailers' | 'done' | 'bad';

/**
 * Decodes a chunked body (RFC 9112 §7.1) as it comes. Sizes are 1 to 15 hexadecimal digits and nothing else, lines end with CRLF,
 * extensions are bounded and dropped, trailers are checked and dropped unless asked for.
 */
export class ChunkedDecoder {
  #state: State = 'size';
  #left = 0;
  #digits = 0;
  #extension = 0;
  #extensions = 0;
  #trailerBytes: Buffer = NOTHING;
  #why = '';
  #used = 0;
  #trailers: string[] = [];

  /** `more` until the last chunk and its trailers have come. */
  get state(): 'more' | 'done' | 'bad' {
    return this.#state === 'done' || this.#state === 'bad' ? this.#state : 'more';
  }

  /** Why the body is refused. */
  get why(): string {
    return this.#why;
  }

  /** Bytes of the last input that belonged to the body: all of them, but for the last input. */
  get used(): number {
    return this.#used;
  }

  /** What came after the last chunk. */
  get trailers(): RawHeaders {
    return this.#trailers;
  }

  /**
   * Takes the next bytes and gives the data in them. The input belongs to the decoder: data of several chunks is moved together
   * inside it, so that the result is one part of it.
   */
  push(bytes: Buffer): Buffer {
    let start = -1;
    let stop = -1;
    let at = 0;
    while (at < bytes.length && this.state === 'more') {
      if (this.#state !== 'data') {
        at = this.#state === 'trailers' ? this.#readTrailers(bytes, at) : this.#step(bytes, at);
        continue;
      }
      const end = Math.min(bytes.length, at + this.#left);
      this.#left -= end - at;
      if (this.#left === 0) this.#state = 'data-cr';
      if (start < 0) start = stop = at;
      if (stop !== at) bytes.copyWithin(stop, at, end);
      stop += end - at;
      at = end;
    }
    this.#used = at;
    return start < 0 ? NOTHING : bytes.subarray(start, stop);
  }

  /** One byte of framing. */
  #step(bytes: Buffer, at: number): number {
    const byte = bytes[at] ?? 0;
    if (this.#state === 'size') this.#readSize(byte);
    else if (this.#state === 'extension') this.#readExtension(byte);
    else if (this.#state === 'size-lf') this.#endSize(byte);
    else if (this.#state === 'data-cr') this.#expect(byte, 13, 'data-lf');
    else this.#expect(byte, 10, 'size');
    return at + 1;
  }

  #readSize(byte: number): void {
    const digit = hexDigit(byte);
    if (digit >= 0) {
      this.#left = this.#left * 16 + digit;
      if (++this.#digits > SIZE_DIGITS_MAX || this.#left > Number.MAX_SAFE_INTEGER)
        this.#refuse('a chunk size that is too large');
      return;
    }
    if (this.#digits === 0) return this.#refuse('a chunk without a size');
    if (byte === 59) this.#state = 'extension';
    else this.#expect(byte, 13, 'size-lf');
  }

  #readExtension(byte: number): void {
    if (byte === 13) {
      this.#state = 'size-lf';
      return;
    }
    const visible = byte === 9 || (byte >= 32 && byte < 127);
    if (!visible || ++this.#extension > EXTENSION_MAX || ++this.#extensions > EXTENSIONS_MAX)
      this.#refuse('a chunk extension that is malformed or too long');
  }

  #endSize(byte: number): void {
    this.#digits = 0;
    this.#extension = 0;
    this.#expect(byte, 10, this.#left === 0 ? 'trailers' : 'data');
  }

  #expect(byte: number, wanted: number, next: State): void {
    if (byte === wanted) this.#state = next;
    else this.#refuse('a chunk whose line does not end with CRLF');
  }

  #readTrailers(bytes: Buffer, at: number): number {
    const before = this.#trailerBytes.length;
    const rest = bytes.subarray(at);
    // The usual end is an empty line at once; otherwise all of it is kept until it is whole.
    const all = before === 0 ? rest : Buffer.concat([this.#trailerBytes, rest]);
    const read = readTrailers(all, TRAILER_CAPS);
    if (read.state === 'done') {
      this.#trailers = read.head;
      this.#state = 'done';
      return at + read.used - before;
    }
    if (read.state === 'bad') this.#refuse(read.why);
    else this.#trailerBytes = Buffer.from(all);
    return bytes.length;
  }

  #refuse(why: string): void {
    this.#state = 'bad';
    this.#why = why;
  }
}

function hexDigit(byte: number): number {
  if (byte >= 48 && byte <= 57) return byte - 48;
  const lower = byte | 32;
  return lower >= 97 && lower <= 102 ? lower - 87 : -1;
}

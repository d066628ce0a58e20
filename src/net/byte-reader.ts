/** Reads a byte array from front to back; every read past the end fails instead of giving something. */
export class ByteReader {
  readonly #bytes: Uint8Array;
  readonly #end: number;
  #at: number;

  constructor(bytes: Uint8Array, start = 0, end = bytes.length) {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = Math.min(end, bytes.length);
  }

  get left(): number {
    return this.#end - this.#at;
  }

  get at(): number {
    return this.#at;
  }

  /** One byte, or undefined at the end. */
  u8(): number | undefined {
    return this.#at < this.#end ? this.#bytes[this.#at++] : undefined;
  }

  /** Two bytes, big-endian. */
  u16(): number | undefined {
    return this.#number(2);
  }

  /** Three bytes, big-endian. */
  u24(): number | undefined {
    return this.#number(3);
  }

  /** Exactly `length` bytes. */
  take(length: number): Uint8Array | undefined {
    if (length > this.left) return undefined;
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  /** A reader over a vector whose length stands before it in one or two bytes (RFC 8446 §3.4). */
  vector(lengthBytes: 1 | 2): ByteReader | undefined {
    const length = lengthBytes === 1 ? this.u8() : this.u16();
    const bytes = length === undefined ? undefined : this.take(length);
    return bytes === undefined ? undefined : new ByteReader(bytes);
  }

  #number(length: number): number | undefined {
    if (length > this.left) return undefined;
    let value = 0;
    for (let i = 0; i < length; i++) value = value * 256 + (this.#bytes[this.#at++] ?? 0);
    return value;
  }
}

/** ASCII text of bytes, or undefined when one is not printable ASCII: names are never decoded leniently. */
export function printableAscii(bytes: Uint8Array): string | undefined {
  for (const byte of bytes) if (byte < 0x21 || byte > 0x7e) return undefined;
  return String.fromCharCode(...bytes);
}

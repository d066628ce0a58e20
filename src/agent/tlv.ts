import { GloveboxError } from '../base/errors.ts';
import { protocolError } from './frames.ts';

/** u16 tag, u32 length; little-endian. */
const TLV_HEADER_BYTES = 6;

/** Bytes or text of one value; text is encoded as UTF-8. */
export type TlvBytes = string | Uint8Array;

/** Room for most messages; more is taken when it is needed. */
const FIRST_BYTES = 1024;

/** Collects TLV records. */
export class TlvWriter {
  #data = Buffer.allocUnsafe(FIRST_BYTES);
  #length = 0;

  bytes(tag: number, value: TlvBytes): this {
    const length = typeof value === 'string' ? Buffer.byteLength(value) : value.length;
    const at = this.#claim(tag, length);
    if (typeof value === 'string') this.#data.write(value, at);
    else this.#data.set(value, at);
    return this;
  }

  /** Text or a path that C code reads: a NUL byte inside would cut it. Throws `E_SANDBOX_START`. */
  text(tag: number, value: TlvBytes): this {
    if (typeof value === 'string' ? value.includes('\0') : value.includes(0)) {
      throw new GloveboxError('E_SANDBOX_START', {
        what: 'an argument, variable or path contains a NUL byte',
        next: 'Remove the NUL byte: no program can receive it.',
      });
    }
    return this.bytes(tag, value);
  }

  u8(tag: number, value: number): this {
    const at = this.#claim(tag, 1);
    this.#data[at] = unsigned(value, 0xff);
    return this;
  }

  u32(tag: number, value: number): this {
    const at = this.#claim(tag, 4);
    this.#put(at, unsigned(value, 0xffff_ffff), 4);
    return this;
  }

  /** What was written. Preconditions: nothing is written afterwards. */
  finish(): Buffer {
    return this.#data.subarray(0, this.#length);
  }

  /** Writes the head of a record and answers where its value goes; the buffer may be another one afterwards. */
  #claim(tag: number, length: number): number {
    const head = this.#length;
    this.#length = head + TLV_HEADER_BYTES + length;
    if (this.#length > this.#data.length) {
      const grown = Buffer.allocUnsafe(Math.max(this.#length, this.#data.length * 2));
      this.#data.copy(grown, 0, 0, head);
      this.#data = grown;
    }
    this.#put(head, tag, 2);
    this.#put(head + 2, length, 4);
    return head + TLV_HEADER_BYTES;
  }

  /** Little-endian. By hand: a start writes some hundred numbers, before anything is compiled. */
  #put(at: number, value: number, bytes: number): void {
    for (let i = 0; i < bytes; i++) this.#data[at + i] = (value >>> (8 * i)) & 0xff;
  }
}

function unsigned(value: number, max: number): number {
  if (Number.isInteger(value) && value >= 0 && value <= max) return value;
  throw new RangeError(`${value} is not an unsigned number up to ${max}`);
}

/** The records of a payload by tag. */
export class TlvRecord {
  readonly #values = new Map<number, Buffer>();

  /** Throws `E_PROTOCOL` when the payload is malformed or names a tag twice. Unknown tags are kept and never looked at. */
  constructor(payload: Buffer) {
    let at = 0;
    while (at < payload.length) {
      if (payload.length - at < TLV_HEADER_BYTES) throw protocolError('a TLV record is cut off');
      const tag = payload.readUInt16LE(at);
      const length = payload.readUInt32LE(at + 2);
      const start = at + TLV_HEADER_BYTES;
      if (length > payload.length - start) throw protocolError('a TLV value is cut off');
      if (this.#values.has(tag)) throw protocolError(`TLV tag ${tag} appears twice`);
      this.#values.set(tag, payload.subarray(start, start + length));
      at = start + length;
    }
  }

  /** Tags that are present, in order. */
  get tags(): readonly number[] {
    return [...this.#values.keys()];
  }

  bytes(tag: number): Buffer | undefined {
    return this.#values.get(tag);
  }

  u8(tag: number, fallback?: number): number {
    return this.#fixed(tag, 1, fallback, (value) => value.readUInt8());
  }

  u32(tag: number, fallback?: number): number {
    return this.#fixed(tag, 4, fallback, (value) => value.readUInt32LE());
  }

  /** A 64-bit value as a number; beyond 2^53 it is not a figure but garbage. */
  u64(tag: number, fallback?: number): number {
    const number = this.#fixed(tag, 8, fallback, (value) => Number(value.readBigUInt64LE()));
    if (!Number.isSafeInteger(number)) throw protocolError(`TLV tag ${tag} is out of range`);
    return number;
  }

  /** Text for people: at most `limit` bytes, everything that is not printable replaced. */
  label(tag: number, limit = 512): string {
    const value = this.#values.get(tag);
    return value === undefined ? '' : printable(value.subarray(0, limit).toString('utf8'));
  }

  #fixed(tag: number, length: number, fallback: number | undefined, read: (value: Buffer) => number): number {
    const value = this.#values.get(tag);
    if (value === undefined) {
      if (fallback === undefined) throw protocolError(`TLV tag ${tag} is missing`);
      return fallback;
    }
    if (value.length !== length) throw protocolError(`TLV tag ${tag} has ${value.length} bytes`);
    return read(value);
  }
}

/** Control, format and separator characters become "?", so that a terminal shows what is there. */
function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cs}]/gu, '?');
}

import { GloveboxError } from '../base/errors.ts';
import { protocolError } from './frames.ts';

/** u16 tag, u32 length; little-endian. */
const TLV_HEADER_BYTES = 6;

/** Bytes or text of one value; text is encoded as UTF-8. */
export type TlvBytes = string | Uint8Array;

/** Text whose characters are its UTF-8 bytes. */
const ASCII = /^[\u0000-\u007f]*$/;

/**
 * Collects TLV records, one character a byte: a start writes some hundred short texts before any code is hot, and joining texts is
 * what costs least then.
 */
export class TlvWriter {
  #data = '';

  bytes(tag: number, value: TlvBytes): this {
    const data = characters(value);
    this.#data += header(tag, data.length) + data;
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
    this.#data += header(tag, 1) + String.fromCharCode(unsigned(value, 0xff));
    return this;
  }

  u32(tag: number, value: number): this {
    this.#data += header(tag, 4) + fourBytes(unsigned(value, 0xffff_ffff));
    return this;
  }

  u64(tag: number, value: number): this {
    const whole = unsigned(value, Number.MAX_SAFE_INTEGER);
    this.#data += header(tag, 8) + fourBytes(whole >>> 0) + fourBytes(Math.floor(whole / 2 ** 32));
    return this;
  }

  /** What was written. */
  finish(): Buffer {
    return Buffer.from(this.#data, 'latin1');
  }
}

function characters(value: TlvBytes): string {
  if (typeof value !== 'string')
    return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('latin1');
  return ASCII.test(value) ? value : Buffer.from(value).toString('latin1');
}

const header = (tag: number, length: number): string =>
  String.fromCharCode(tag & 0xff, (tag >>> 8) & 0xff) + fourBytes(length);

/** Little-endian. */
const fourBytes = (value: number): string =>
  String.fromCharCode(value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24);

function unsigned(value: number, max: number): number {
  if (Number.isInteger(value) && value >= 0 && value <= max) return value;
  throw new RangeError(`${value} is not an unsigned number up to ${max}`);
}

/** The records of a payload in order; a tag may come again. Throws `E_PROTOCOL` for a malformed one. */
export function* tlvRecords(
  payload: Buffer,
): Generator<{ readonly tag: number; readonly value: Buffer }, void> {
  let at = 0;
  while (at < payload.length) {
    if (payload.length - at < TLV_HEADER_BYTES) throw protocolError('a TLV record is cut off');
    const start = at + TLV_HEADER_BYTES;
    const length = payload.readUInt32LE(at + 2);
    if (length > payload.length - start) throw protocolError('a TLV value is cut off');
    yield { tag: payload.readUInt16LE(at), value: payload.subarray(start, start + length) };
    at = start + length;
  }
}

/** The records of a payload by tag. */
export class TlvRecord {
  readonly #values = new Map<number, Buffer>();

  /** Throws `E_PROTOCOL` when the payload is malformed or names a tag twice. Unknown tags are kept and never looked at. */
  constructor(payload: Buffer) {
    for (const { tag, value } of tlvRecords(payload)) {
      if (this.#values.has(tag)) throw protocolError(`TLV tag ${tag} appears twice`);
      this.#values.set(tag, value);
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

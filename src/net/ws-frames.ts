import { isUtf8 } from 'node:buffer';
import { TextDecoder } from 'node:util';

/** RFC 6455 §5.2. */
export const WS_OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;
export type WsOpcode = (typeof WS_OPCODE)[keyof typeof WS_OPCODE];

/** RFC 6455 §7.4.1, those that a gateway sends. */
export const WS_CLOSE = { protocolError: 1002, badData: 1007, policy: 1008, tooBig: 1009 } as const;
export type WsCloseCode = (typeof WS_CLOSE)[keyof typeof WS_CLOSE];

/** One frame, whole and unmasked. */
export interface WsFrame {
  readonly fin: boolean;
  readonly opcode: WsOpcode;
  readonly payload: Buffer;
}

/** Why a connection cannot go on, and the code to close it with. */
export interface WsProblem {
  readonly code: WsCloseCode;
  readonly why: string;
}

export interface WsReaderOptions {
  /** True for what a client sends: each frame masked (§5.1). False: none. */
  readonly masked: boolean;
  /** Bytes of one frame, which is held until it is whole. */
  readonly frameBytes: number;
  /** Bytes of one message over all its frames; absent where nobody joins them. */
  readonly messageBytes?: number;
}

export interface WsRead {
  readonly frames: readonly WsFrame[];
  /** Nothing after it is read. */
  readonly problem?: WsProblem;
}

/** Control frames carry at most this (§5.5). */
const CONTROL_BYTES_MAX = 125;

/** Frames of one message: empty ones cost nothing to send and something to keep. */
const FRAGMENTS_MAX = 16_384;

/** First allocation for a payload; it grows with what arrives, not with what is announced. */
const GATHER_BYTES = 4_096;

const EMPTY = Buffer.alloc(0);

const OPCODES: ReadonlyMap<number, WsOpcode> = new Map(Object.values(WS_OPCODE).map((code) => [code, code]));

interface Header {
  readonly fin: boolean;
  readonly opcode: WsOpcode;
  readonly length: number;
}

/** Leaves the reader; caught in `push` and nowhere else. */
class Broken extends Error {
  readonly code: WsCloseCode;

  constructor(code: WsCloseCode, why: string) {
    super(why);
    this.code = code;
  }
}

/**
 * Reads one direction of a WebSocket connection, in pieces of any size. Checks all that RFC 6455 leaves no choice about: masks, reserved bits
 * (no extension is spoken), lengths in their shortest form, control frames, the order of fragments, UTF-8 of texts, close codes.
 */
export class WsReader {
  readonly #options: WsReaderOptions;
  readonly #head = Buffer.alloc(14);
  #have = 0;
  #need = 2;
  #header: Header | undefined;
  #payload: Buffer = EMPTY;
  #filled = 0;
  readonly #order: FragmentOrder;
  #problem: WsProblem | undefined;

  constructor(options: WsReaderOptions) {
    this.#options = options;
    this.#order = new FragmentOrder(options.messageBytes);
  }

  /** True between frames: an end here cuts nothing short. */
  get idle(): boolean {
    return this.#have === 0 && this.#header === undefined;
  }

  /** Bytes of memory that a frame has which is not whole. */
  get held(): number {
    return this.#payload.length;
  }

  push(chunk: Uint8Array): WsRead {
    const frames: WsFrame[] = [];
    try {
      if (this.#problem === undefined) this.#read(chunk, frames);
    } catch (error) {
      if (!(error instanceof Broken)) throw error;
      this.#problem = { code: error.code, why: error.message };
    }
    return this.#problem === undefined ? { frames } : { frames, problem: this.#problem };
  }

  #read(chunk: Uint8Array, frames: WsFrame[]): void {
    let at = 0;
    while (at < chunk.length) {
      at +=
        this.#header === undefined ? this.#readHead(chunk, at) : this.#readPayload(chunk, at, this.#header);
      if (this.#header !== undefined && this.#filled === this.#header.length)
        frames.push(this.#finish(this.#header));
    }
  }

  #readHead(chunk: Uint8Array, at: number): number {
    const step = Math.min(this.#need - this.#have, chunk.length - at);
    this.#head.set(chunk.subarray(at, at + step), this.#have);
    this.#have += step;
    if (this.#have < this.#need) return step;
    if (this.#have === 2) {
      this.#need = this.#headBytes();
      if (this.#need > 2) return step;
    }
    this.#header = this.#parseHead();
    this.#payload = EMPTY;
    this.#filled = 0;
    return step;
  }

  /** Length of the head, once its first two bytes are there; they are judged at once. */
  #headBytes(): number {
    const [first = 0, second = 0] = this.#head;
    if ((first & 0x70) !== 0)
      throw new Broken(WS_CLOSE.protocolError, 'a reserved bit, though no extension was agreed');
    if (!OPCODES.has(first & 0x0f)) throw new Broken(WS_CLOSE.protocolError, 'an unknown opcode');
    if (second >= 0x80 !== this.#options.masked)
      throw new Broken(
        WS_CLOSE.protocolError,
        this.#options.masked ? 'a frame without a mask' : 'a masked frame',
      );
    const length = second & 0x7f;
    if (isControl(first & 0x0f) && (first < 0x80 || length > CONTROL_BYTES_MAX))
      throw new Broken(WS_CLOSE.protocolError, 'a control frame that is fragmented or over 125 bytes');
    return 2 + (length === 126 ? 2 : length === 127 ? 8 : 0) + (this.#options.masked ? 4 : 0);
  }

  #parseHead(): Header {
    const [first = 0, second = 0] = this.#head;
    const opcode = OPCODES.get(first & 0x0f);
    if (opcode === undefined) throw new Broken(WS_CLOSE.protocolError, 'an unknown opcode');
    const header = { fin: first >= 0x80, opcode, length: this.#length(second & 0x7f) };
    if (header.length > this.#options.frameBytes)
      throw new Broken(WS_CLOSE.tooBig, `a frame over ${this.#options.frameBytes} bytes`);
    this.#order.begin(header);
    return header;
  }

  /** §5.2: the shortest form that fits; a second form would be a second spelling. */
  #length(short: number): number {
    if (short < 126) return short;
    const length =
      short === 126
        ? this.#head.readUInt16BE(2)
        : this.#head.readUInt32BE(2) * 0x1_0000_0000 + this.#head.readUInt32BE(6);
    if (length < (short === 126 ? 126 : 0x1_0000) || length > Number.MAX_SAFE_INTEGER)
      throw new Broken(WS_CLOSE.protocolError, 'a length that is not in its shortest form');
    return length;
  }

  #readPayload(chunk: Uint8Array, at: number, header: Header): number {
    const step = Math.min(header.length - this.#filled, chunk.length - at);
    const wanted = this.#filled + step;
    if (wanted > this.#payload.length) {
      const grown = Buffer.allocUnsafe(
        Math.min(header.length, Math.max(wanted, GATHER_BYTES, 2 * this.#payload.length)),
      );
      this.#payload.copy(grown, 0, 0, this.#filled);
      this.#payload = grown;
    }
    this.#payload.set(chunk.subarray(at, at + step), this.#filled);
    this.#filled = wanted;
    return step;
  }

  #finish(header: Header): WsFrame {
    const payload = this.#payload;
    if (this.#options.masked && payload.length > 0)
      applyMask(payload, this.#head.subarray(this.#need - 4, this.#need));
    this.#header = undefined;
    this.#payload = EMPTY;
    this.#have = 0;
    this.#need = 2;
    const frame = { fin: header.fin, opcode: header.opcode, payload };
    this.#order.end(frame);
    return frame;
  }
}

/** The rules that hold between the frames of one direction (§5.4, §5.5.1, §8.1). */
class FragmentOrder {
  readonly #messageBytes: number | undefined;
  /** Of the message whose frames are still coming. */
  #open: WsOpcode | undefined;
  #decoder: TextDecoder | undefined;
  #bytes = 0;
  #fragments = 0;
  #closed = false;

  constructor(messageBytes: number | undefined) {
    this.#messageBytes = messageBytes;
  }

  /** Before a payload is held. */
  begin({ opcode, length }: Header): void {
    if (this.#closed) throw new Broken(WS_CLOSE.protocolError, 'a frame after its close frame');
    if (isControl(opcode)) return;
    const continues = opcode === WS_OPCODE.continuation;
    if (continues !== (this.#open !== undefined))
      throw new Broken(
        WS_CLOSE.protocolError,
        continues ? 'a continuation of nothing' : 'a message within a message',
      );
    this.#bytes = (continues ? this.#bytes : 0) + length;
    this.#fragments = (continues ? this.#fragments : 0) + 1;
    if (this.#messageBytes === undefined) return;
    if (this.#bytes > this.#messageBytes || this.#fragments > FRAGMENTS_MAX)
      throw new Broken(
        WS_CLOSE.tooBig,
        `a message over ${this.#messageBytes} bytes or ${FRAGMENTS_MAX} frames`,
      );
  }

  end(frame: WsFrame): void {
    if (frame.opcode === WS_OPCODE.close) return this.#close(frame.payload);
    if (isControl(frame.opcode)) return;
    const kind = this.#open ?? frame.opcode;
    if (kind === WS_OPCODE.text) this.#text(frame);
    this.#open = frame.fin ? undefined : kind;
  }

  /** Whole texts take the short way; a character may be cut by the border of two frames. */
  #text({ fin, payload }: WsFrame): void {
    if (fin && this.#open === undefined) {
      if (!isUtf8(payload)) throw new Broken(WS_CLOSE.badData, 'a text that is not valid UTF-8');
      return;
    }
    this.#decoder ??= new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
    try {
      this.#decoder.decode(payload, { stream: !fin });
    } catch {
      throw new Broken(WS_CLOSE.badData, 'a text that is not valid UTF-8');
    }
    if (fin) this.#decoder = undefined;
  }

  #close(payload: Buffer): void {
    this.#closed = true;
    if (payload.length === 0) return;
    if (payload.length === 1 || !isCloseCode(payload.readUInt16BE(0)))
      throw new Broken(WS_CLOSE.protocolError, 'a close code that may not be sent');
    if (!isUtf8(payload.subarray(2)))
      throw new Broken(WS_CLOSE.badData, 'a close reason that is not valid UTF-8');
  }
}

export function isControl(opcode: number): boolean {
  return opcode >= 8;
}

/** §7.4.1, §7.4.2 and the IANA registry: 1004 to 1006 and 1015 never stand in a frame. */
function isCloseCode(code: number): boolean {
  if (code >= 3000 && code < 5000) return true;
  return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014);
}

/** Writes a frame in its shortest form; with a mask of four bytes when it is given (§5.3). */
export function writeWsFrame(frame: WsFrame, mask?: Uint8Array): Buffer {
  const { length } = frame.payload;
  const extended = length < 126 ? 0 : length < 0x1_0000 ? 2 : 8;
  const head = 2 + extended + (mask === undefined ? 0 : 4);
  const out = Buffer.allocUnsafe(head + length);
  out[0] = (frame.fin ? 0x80 : 0) | frame.opcode;
  out[1] = (mask === undefined ? 0 : 0x80) | (extended === 0 ? length : extended === 2 ? 126 : 127);
  if (extended === 2) out.writeUInt16BE(length, 2);
  if (extended === 8) out.writeBigUInt64BE(BigInt(length), 2);
  frame.payload.copy(out, head);
  if (mask !== undefined) {
    out.set(mask, head - 4);
    applyMask(out.subarray(head), mask);
  }
  return out;
}

/** The payload of a close frame; the reason is cut to what a control frame holds. */
export function closePayload(code: WsCloseCode, reason: string): Buffer {
  const text = Buffer.from(reason.replace(/[^\x20-\x7e]/g, '?').slice(0, CONTROL_BYTES_MAX - 2), 'latin1');
  const payload = Buffer.alloc(2 + text.length);
  payload.writeUInt16BE(code, 0);
  payload.set(text, 2);
  return payload;
}

function applyMask(payload: Buffer, mask: Uint8Array): void {
  for (let i = 0; i < payload.length; i++) payload[i] = (payload[i] ?? 0) ^ (mask[i & 3] ?? 0);
}

import type { Duplex } from 'node:stream';

/** One header line, bytes as Latin-1. Nothing is checked: upper case, CR/LF and late pseudo-headers go out as they are. */
export type Field = readonly [name: string, value: string];

export const FRAME = {
  data: 0,
  headers: 1,
  priority: 2,
  reset: 3,
  settings: 4,
  push: 5,
  ping: 6,
  goaway: 7,
  window: 8,
  continuation: 9,
} as const;

export const FLAG = { endStream: 1, ack: 1, endHeaders: 4, padded: 8 } as const;

const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';
const FRAME_MAX = 16_384;

/** A stream as one case of the case file writes it. */
export interface RawRequest {
  readonly headers: readonly Field[];
  /** Latin-1, as in the case file. */
  readonly body?: string | Buffer;
  readonly trailers?: readonly Field[];
}

/** What came back on one stream. */
export interface RawAnswer {
  /** `:status` of the last head; undefined when none came. */
  status?: number;
  /** `grpc-status` of a head or of trailers. */
  grpcStatus?: number;
  body: Buffer;
  ended: boolean;
  /** Error code of RST_STREAM. */
  reset?: number;
}

/** One frame (RFC 9113 §4.1). */
export function frame(
  type: number,
  flags: number,
  stream: number,
  payload: Uint8Array = new Uint8Array(0),
): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** A header block of literals without indexing and without Huffman coding (RFC 7541 §6.2.2). */
export function headerBlock(fields: readonly Field[]): Buffer {
  return Buffer.concat(fields.flatMap(([name, value]) => [Buffer.from([0]), literal(name), literal(value)]));
}

function literal(text: string): Buffer {
  const bytes = Buffer.from(text, 'latin1');
  return Buffer.concat([integer(bytes.length, 7), bytes]);
}

/** RFC 7541 §5.1. */
function integer(value: number, prefixBits: number): Buffer {
  const max = 2 ** prefixBits - 1;
  if (value < max) return Buffer.from([value]);
  const out = [max];
  let rest = value - max;
  for (; rest >= 128; rest = Math.floor(rest / 128)) out.push((rest % 128) + 128);
  return Buffer.from([...out, rest]);
}

/**
 * The client's end of an HTTP/2 connection, frame by frame. It says what it is told to say, right or wrong, and understands of the
 * answers what a verdict needs: status, grpc-status, body, resets, GOAWAY.
 */
export class RawH2 {
  readonly answers = new Map<number, RawAnswer>();
  goaway: { readonly code: number; readonly debug: string } | undefined;
  closed = false;
  /** Frames received, by type. */
  readonly seen: Record<number, number> = {};
  readonly #socket: Duplex;
  /** Answers SETTINGS and PING, and gives windows back; a hostile peer may not. */
  readonly #polite: boolean;
  #buffer: Buffer = Buffer.alloc(0);
  #nextId = 1;

  constructor(socket: Duplex, options: { readonly polite?: boolean } = {}) {
    this.#socket = socket;
    this.#polite = options.polite ?? true;
    socket.on('data', (chunk: Buffer) => this.#onData(chunk));
    socket.on('error', () => socket.destroy());
    socket.on('close', () => (this.closed = true));
    socket.on('end', () => (this.closed = true));
  }

  get socket(): Duplex {
    return this.#socket;
  }

  /** Preface and SETTINGS. Table size 0: the answers' headers then never refer to a dynamic table. */
  start(settings: readonly (readonly [id: number, value: number])[] = [[1, 0]]): void {
    this.#socket.write(Buffer.concat([Buffer.from(PREFACE), settingsFrame(settings)]));
  }

  send(...frames: Buffer[]): boolean {
    if (this.#socket.destroyed || this.#socket.writableEnded) return false;
    return this.#socket.write(Buffer.concat(frames));
  }

  settings(entries: readonly (readonly [id: number, value: number])[]): boolean {
    return this.send(settingsFrame(entries));
  }

  ping(): boolean {
    return this.send(frame(FRAME.ping, 0, 0, Buffer.alloc(8)));
  }

  reset(stream: number, code = 8): boolean {
    return this.send(frame(FRAME.reset, 0, stream, uint32(code)));
  }

  windowUpdate(stream: number, bytes: number): boolean {
    return this.send(frame(FRAME.window, 0, stream, uint32(bytes)));
  }

  /** Opens a stream. `pieces` spreads the header block over that many frames; `leaveOpen` keeps END_HEADERS back. */
  headers(
    fields: readonly Field[],
    options: { readonly end?: boolean; readonly pieces?: number; readonly leaveOpen?: boolean } = {},
  ): number {
    const stream = this.#nextId;
    this.#nextId += 2;
    this.answers.set(stream, { body: Buffer.alloc(0), ended: false });
    this.send(...headerFrames(stream, headerBlock(fields), options));
    return stream;
  }

  trailers(stream: number, fields: readonly Field[]): void {
    this.send(...headerFrames(stream, headerBlock(fields), { end: true }));
  }

  data(stream: number, body: string | Buffer, end: boolean): void {
    const bytes = typeof body === 'string' ? Buffer.from(body, 'latin1') : body;
    const frames: Buffer[] = [];
    for (let at = 0; at < bytes.length || at === 0; at += FRAME_MAX) {
      const last = at + FRAME_MAX >= bytes.length;
      const flags = end && last ? FLAG.endStream : 0;
      frames.push(frame(FRAME.data, flags, stream, bytes.subarray(at, at + FRAME_MAX)));
    }
    this.send(...frames);
  }

  /** A whole request. */
  request(request: RawRequest): number {
    const { headers, body, trailers } = request;
    const stream = this.headers(headers, { end: body === undefined && trailers === undefined });
    if (body !== undefined) this.data(stream, body, trailers === undefined);
    if (trailers !== undefined) this.trailers(stream, trailers);
    return stream;
  }

  answer(stream: number): RawAnswer {
    return this.answers.get(stream) ?? { body: Buffer.alloc(0), ended: false };
  }

  /** Resolves when the stream is over, the connection ended, or nothing comes any more. */
  async settled(stream: number, timeoutMs = 3_000): Promise<RawAnswer> {
    const end = Date.now() + timeoutMs;
    const isOver = (): boolean => {
      const answer = this.answer(stream);
      return answer.ended || answer.reset !== undefined || this.closed;
    };
    while (!isOver() && Date.now() < end) await pause();
    return this.answer(stream);
  }

  async ended(timeoutMs = 3_000): Promise<boolean> {
    const end = Date.now() + timeoutMs;
    while (!this.closed && Date.now() < end) await pause();
    return this.closed;
  }

  async flushed(): Promise<void> {
    while (this.#socket.writableNeedDrain && !this.closed) await pause();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #onData(chunk: Buffer): void {
    this.#buffer = Buffer.concat([this.#buffer, chunk]);
    while (this.#buffer.length >= 9) {
      const length = this.#buffer.readUIntBE(0, 3);
      if (this.#buffer.length < 9 + length) return;
      const [type = 0, flags = 0] = this.#buffer.subarray(3, 5);
      const stream = this.#buffer.readUInt32BE(5) & 0x7fff_ffff;
      const payload = this.#buffer.subarray(9, 9 + length);
      this.#buffer = this.#buffer.subarray(9 + length);
      this.#onFrame(type, flags, stream, payload);
    }
  }

  #onFrame(type: number, flags: number, stream: number, payload: Buffer): void {
    this.seen[type] = (this.seen[type] ?? 0) + 1;
    if (type === FRAME.goaway)
      this.goaway = { code: payload.readUInt32BE(4), debug: payload.toString('latin1', 8) };
    if (this.#polite) this.#bePolite(type, flags, stream, payload);
    const answer = this.answers.get(stream);
    if (answer === undefined) return;
    if (type === FRAME.reset) answer.reset = payload.readUInt32BE(0);
    if (type === FRAME.headers) readHead(payload, answer);
    if (type === FRAME.data) answer.body = Buffer.concat([answer.body, payload]);
    if ((type === FRAME.headers || type === FRAME.data) && (flags & FLAG.endStream) !== 0)
      answer.ended = true;
  }

  #bePolite(type: number, flags: number, stream: number, payload: Buffer): void {
    const isAck = (flags & FLAG.ack) !== 0;
    if (type === FRAME.settings && !isAck) this.send(frame(FRAME.settings, FLAG.ack, 0));
    if (type === FRAME.ping && !isAck) this.send(frame(FRAME.ping, FLAG.ack, 0, payload));
    if (type !== FRAME.data || payload.length === 0) return;
    this.windowUpdate(0, payload.length);
    if ((flags & FLAG.endStream) === 0) this.windowUpdate(stream, payload.length);
  }
}

function headerFrames(
  stream: number,
  block: Buffer,
  options: { readonly end?: boolean; readonly pieces?: number; readonly leaveOpen?: boolean },
): Buffer[] {
  const size = Math.min(FRAME_MAX, Math.ceil(block.length / (options.pieces ?? 1)));
  const out: Buffer[] = [];
  for (let at = 0; at < block.length || at === 0; at += size) {
    const last = at + size >= block.length && options.leaveOpen !== true;
    const type = at === 0 ? FRAME.headers : FRAME.continuation;
    const end = at === 0 && options.end === true ? FLAG.endStream : 0;
    out.push(frame(type, end | (last ? FLAG.endHeaders : 0), stream, block.subarray(at, at + size)));
  }
  return out;
}

function settingsFrame(entries: readonly (readonly [number, number])[]): Buffer {
  const payload = Buffer.alloc(entries.length * 6);
  for (const [i, [id, value]] of entries.entries()) {
    payload.writeUInt16BE(id, i * 6);
    payload.writeUInt32BE(value, i * 6 + 2);
  }
  return frame(FRAME.settings, 0, 0, payload);
}

function uint32(value: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeUInt32BE(value);
  return out;
}

/** `:status` values of the static table (RFC 7541 appendix A, 8 to 14). */
const STATIC_STATUS = [200, 204, 206, 304, 400, 404, 500];

/** Reads the fields of a head that verdicts need. Without a dynamic table every field stands on its own. */
function readHead(block: Buffer, answer: RawAnswer): void {
  let at = 0;
  while (at < block.length) {
    const first = block[at] ?? 0;
    if ((first & 0x80) !== 0) {
      const index = readInteger(block, at, 7);
      const status = STATIC_STATUS[index.value - 8];
      if (status !== undefined) answer.status = status;
      at = index.next;
      continue;
    }
    if ((first & 0xe0) === 0x20) {
      at = readInteger(block, at, 5).next;
      continue;
    }
    const index = readInteger(block, at, (first & 0x40) === 0 ? 4 : 6);
    const name = index.value === 0 ? readText(block, index.next) : { text: '', next: index.next };
    const value = readText(block, name.next);
    if (index.value >= 8 && index.value <= 14) answer.status = Number(value.text);
    if (name.text === 'grpc-status' || name.text === GRPC_STATUS) answer.grpcStatus = Number(value.text);
    at = value.next;
  }
}

/** "grpc-status" in Huffman code: the one name that has to be told from others. */
const GRPC_STATUS = `huffman:${Buffer.from([0x9a, 0xca, 0xc8, 0xb2, 0x12, 0x34, 0xda, 0x8f]).toString('hex')}`;

function readInteger(block: Buffer, at: number, prefixBits: number): { value: number; next: number } {
  const max = 2 ** prefixBits - 1;
  let value = (block[at] ?? 0) & max;
  let next = at + 1;
  if (value < max) return { value, next };
  for (let shift = 0; ; shift += 7) {
    const byte = block[next++] ?? 0;
    value += (byte & 0x7f) * 2 ** shift;
    if (byte < 0x80) return { value, next };
  }
}

function readText(block: Buffer, at: number): { text: string; next: number } {
  const { value: length, next } = readInteger(block, at, 7);
  const bytes = block.subarray(next, next + length);
  const isHuffman = ((block[at] ?? 0) & 0x80) !== 0;
  return { text: isHuffman ? huffman(bytes) : bytes.toString('latin1'), next: next + length };
}

/** Digits (RFC 7541 appendix B: 0 to 2 have five bits, 3 to 9 six); anything else is given as hex. */
function huffman(bytes: Buffer): string {
  let bits = '';
  for (const byte of bytes) bits += byte.toString(2).padStart(8, '0');
  let text = '';
  while (bits.length >= 5 && !/^1*$/.test(bits)) {
    const five = Number.parseInt(bits.slice(0, 5), 2);
    const six = Number.parseInt(bits.slice(0, 6), 2);
    if (five > 2 && (six < 0x19 || six > 0x1f)) return `huffman:${bytes.toString('hex')}`;
    text += String(five <= 2 ? five : six - 0x16);
    bits = bits.slice(five <= 2 ? 5 : 6);
  }
  return text;
}

function pause(): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, 5);
  });
}

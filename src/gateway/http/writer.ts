import type { Socket } from 'node:net';
import type { BodySink } from './contract.ts';

/** How the message being written is delimited (RFC 9112 §6). */
export type Framing = 'none' | 'length' | 'chunked' | 'close';

/** How a message begins. */
export interface MessageStart {
  /** Start line and header lines with the empty one, Latin-1. */
  readonly head: string;
  readonly framing: Framing;
  /** Bytes of the body, where the framing is `length`. */
  readonly length: number;
}

/** What a writer tells its connection, which outlives it. */
export interface WriterOwner {
  /** The message is with the socket, whole. */
  written(): void;
  /** The source broke, or its bytes do not fit the announced length: the connection cannot go on. */
  broken(): void;
}

/** Messages up to this size leave in one write; beyond it, copying would cost more than a second buffer in the same call. */
const COALESCE = 16 * 1024;

/** What comes out of TLS comes record by record, and each write into TLS is sent apart: there, records are gathered up to this size. */
const GATHER = 64 * 1024;
/** A chunk of this size belongs to a bulk transfer, and the next one may come with the same look at the sockets. */
const BULK = 8 * 1024;
/** A TLS socket never says at once that a write is done, so a source may go on while this much is with it. */
const UNSENT_MAX = 192 * 1024;

const CRLF = Buffer.from('\r\n');
const NOTHING = Buffer.alloc(0);

/**
 * Writes one HTTP/1 message: head, framing, body. What comes in one turn of the event loop leaves in one write, and a message that
 * is complete at once leaves at once. Only chunks of a bulk transfer wait until all sockets have been looked at.
 */
export class MessageWriter implements BodySink {
  readonly #socket: Socket;
  readonly #owner: WriterOwner;
  readonly #framing: Framing;
  #head: string;
  /** Bytes of the announced length that are still to come. */
  #left: number;
  #held: Buffer[] = [];
  #heldBytes = 0;
  #scheduled = false;
  #open = true;
  #resume: (() => void) | undefined;
  /** Bytes that are held at most, and bytes that may be with the socket before the source has to wait. */
  readonly #gather: number;
  readonly #unsent: number;

  constructor(socket: Socket, owner: WriterOwner, { head, framing, length }: MessageStart) {
    this.#socket = socket;
    this.#owner = owner;
    this.#head = head;
    this.#framing = framing;
    this.#left = length;
    const isTls = 'encrypted' in socket;
    this.#gather = isTls ? GATHER : COALESCE;
    this.#unsent = isTls ? UNSENT_MAX : 0;
  }

  write(chunk: Buffer): boolean {
    if (!this.#open) return true;
    const size = chunk.length;
    if (size === 0) return true;
    if (this.#framing === 'length' && (this.#left -= size) < 0) {
      this.abort();
      return true;
    }
    this.#held.push(chunk);
    this.#heldBytes += size;
    // Small pieces add up as well: a reader that does not read stops the source whatever the size of its chunks.
    if (this.#heldBytes > this.#gather) this.#flush(false);
    else if (size >= BULK && this.#gather === GATHER) this.#flushLater();
    else this.flushSoon();
    // `write` says false for every chunk over the high-water mark, also when the kernel took it at once: look at what is left. Below
    // the mark no "drain" will come, so the source must not wait for one.
    return this.#socket.writableLength <= this.#unsent || !this.#socket.writableNeedDrain;
  }

  get idle(): boolean {
    return this.#heldBytes === 0 && this.#socket.writableLength === 0;
  }

  onDrain(resume: () => void): void {
    this.#resume = resume;
  }

  /** The socket took what it had: the source may go on. */
  drained(): void {
    if (this.#open) this.#resume?.();
  }

  end(): void {
    if (!this.#open) return;
    if (this.#framing === 'length' && this.#left !== 0) return this.abort();
    this.#flush(true);
    this.#open = false;
    this.#owner.written();
  }

  abort(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#owner.broken();
  }

  /** What is held leaves with this turn of the event loop. */
  flushSoon(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    process.nextTick(flushHeld, this);
  }

  /** What came with the same look at the sockets leaves with it. */
  #flushLater(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(flushHeld, this);
  }

  /** @internal For `flushSoon`. */
  flushNow(): void {
    this.#scheduled = false;
    if (this.#open) this.#flush(false);
  }

  #flush(last: boolean): void {
    const bytes = this.#heldBytes;
    const chunked = this.#framing === 'chunked';
    const before = chunked && bytes > 0 ? `${this.#head}${bytes.toString(16)}\r\n` : this.#head;
    const after = chunked ? ending(bytes > 0, last) : '';
    const total = before.length + bytes + after.length;
    if (total === 0) return;
    const held = this.#held;
    this.#head = '';
    this.#held = [];
    this.#heldBytes = 0;
    if (total <= COALESCE + 1024) this.#socket.write(joined(before, held, after, total));
    else this.#writeApart(before, held, after);
  }

  /** One system call for all of it (writev), without copying the body. */
  #writeApart(before: string, held: readonly Buffer[], after: string): void {
    const socket = this.#socket;
    if (before === '' && after === '' && held.length === 1) return void socket.write(held[0] ?? NOTHING);
    socket.cork();
    if (before !== '') socket.write(before, 'latin1');
    for (const chunk of held) socket.write(chunk);
    if (after !== '') socket.write(after === '\r\n' ? CRLF : Buffer.from(after, 'latin1'));
    socket.uncork();
  }
}

function flushHeld(writer: MessageWriter): void {
  writer.flushNow();
}

function ending(data: boolean, last: boolean): string {
  const close = data ? '\r\n' : '';
  return last ? `${close}0\r\n\r\n` : close;
}

function joined(before: string, held: readonly Buffer[], after: string, total: number): Buffer {
  const out = Buffer.allocUnsafe(total);
  let at = before === '' ? 0 : out.write(before, 0, 'latin1');
  for (const chunk of held) {
    out.set(chunk, at);
    at += chunk.length;
  }
  if (after !== '') out.write(after, at, 'latin1');
  return out;
}

/** Header lines as they stand on the wire. */
export function headerLines(headers: readonly string[]): string {
  let lines = '';
  for (let i = 0; i + 1 < headers.length; i += 2) lines += `${headers[i]}: ${headers[i + 1]}\r\n`;
  return lines;
}

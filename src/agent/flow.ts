import { Readable, Writable } from 'node:stream';
import { CAPS } from '../base/caps.ts';
import { protocolError } from './frames.ts';

/** Consumed bytes are credited in steps, so that small reads do not double the number of frames. */
const CREDIT_STEP_BYTES = CAPS.streamWindowBytes / 8;

/**
 * Bytes that a reader leaves in the stream's own buffer before it stops asking. Below the window less one credit step, so
 * that a reader that asks again always finds something to credit.
 */
const READ_AHEAD_BYTES = 64 * 1024;

/** One direction from the sandbox: never holds more than the window, credits what the reader has taken. */
export class InboundStream extends Readable {
  readonly #credit: (bytes: number) => void;
  #window = CAPS.streamWindowBytes;
  /** Received and not yet credited. */
  #unsettled = 0;
  #over = false;

  constructor(credit: (bytes: number) => void) {
    super({ highWaterMark: READ_AHEAD_BYTES });
    this.#credit = credit;
  }

  /** Bytes from the sandbox. Throws `E_PROTOCOL` when it sends more than it may. */
  accept(data: Buffer): void {
    if (this.#over) throw protocolError('output after its end');
    if (data.length === 0 || data.length > this.#window) throw protocolError('output beyond the window');
    this.#window -= data.length;
    this.#unsettled += data.length;
    // A copy: a small piece of a large read must not keep the whole read in memory.
    if (!this.destroyed) this.push(data.length < READ_AHEAD_BYTES / 8 ? Buffer.from(data) : data);
    this.#settle();
  }

  get over(): boolean {
    return this.#over;
  }

  end(): void {
    if (this.#over) return;
    this.#over = true;
    if (!this.destroyed) this.push(null);
  }

  /** What was there cannot be all: whoever reads gets the error. */
  fail(error: Error): void {
    if (this.#over) return;
    this.#over = true;
    this.destroy(error);
  }

  override _read(): void {
    // The bytes that this read takes are still counted as buffered while it runs.
    queueMicrotask(() => this.#settle());
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    done(error);
    queueMicrotask(() => this.#settle());
  }

  #settle(): void {
    if (this.#over) return;
    const taken = this.#unsettled - (this.destroyed ? 0 : this.readableLength);
    if (taken < CREDIT_STEP_BYTES) return;
    this.#unsettled -= taken;
    this.#window += taken;
    this.#credit(taken);
  }
}

interface Pending {
  data: Buffer;
  readonly done: () => void;
}

/** One direction into the sandbox: waits for credit, then sends in frames. */
export class OutboundStream extends Writable {
  readonly #send: (data: Buffer) => void;
  readonly #finish: () => void;
  #window = CAPS.streamWindowBytes;
  #pending: Pending | undefined;
  #open: boolean;

  /** `open` false holds everything back until `start`. */
  constructor(send: (data: Buffer) => void, finish: () => void, open = true) {
    super({ highWaterMark: READ_AHEAD_BYTES });
    this.#send = send;
    this.#finish = finish;
    this.#open = open;
  }

  start(): void {
    this.#open = true;
    this.#pump();
  }

  /** Credit from the sandbox. Throws `E_PROTOCOL` when it makes no sense. */
  credit(bytes: number): void {
    if (bytes === 0 || this.#window + bytes > CAPS.streamWindowBytes)
      throw protocolError('credit beyond the window');
    this.#window += bytes;
    this.#pump();
  }

  /** Nobody reads any more: what is still written is dropped without an error, as after a process has ended. */
  abandon(): void {
    const pending = this.#pending;
    this.#pending = undefined;
    this.destroy();
    pending?.done();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.#pending = { data: chunk, done };
    this.#pump();
  }

  override _final(done: () => void): void {
    this.#finish();
    done();
  }

  #pump(): void {
    const pending = this.#pending;
    if (pending === undefined || !this.#open) return;
    while (pending.data.length > 0 && this.#window > 0) {
      const size = Math.min(pending.data.length, this.#window, CAPS.framePayloadBytes);
      this.#window -= size;
      this.#send(pending.data.subarray(0, size));
      pending.data = pending.data.subarray(size);
    }
    if (pending.data.length > 0) return;
    this.#pending = undefined;
    pending.done();
  }
}

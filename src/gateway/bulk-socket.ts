import { Socket } from 'node:net';
import type { OnReadOpts, SocketConstructorOpts } from 'node:net';

/** A first read is small: heads, handshakes, single rows. The buffer grows while reads fill it. */
const FIRST_BYTES = 4 * 1024;
const MOST_BYTES = 256 * 1024;

/** Takes a chunk at once; false stops reading until `resume`. The chunk is the taker's only until it returns, unless it `keep`s it. */
export type Take = (chunk: Buffer) => boolean;

/**
 * A socket that reads into one buffer of its own, so that a bulk transfer costs no allocation and few system calls. Without a
 * taker it is an ordinary stream.
 */
export class BulkSocket extends Socket {
  #take: Take | undefined;
  #buffer: Buffer = Buffer.allocUnsafeSlow(FIRST_BYTES);
  #size = FIRST_BYTES;
  #isKept = false;

  constructor(options: Omit<SocketConstructorOpts, 'onread'>) {
    const onread: OnReadOpts = { buffer: () => this.#next(), callback: (bytes) => this.#read(bytes) };
    // Documented for the constructor too (net.Socket, `onread`), which the types leave out.
    const all: Omit<SocketConstructorOpts, 'onread'> & { readonly onread: OnReadOpts } = {
      ...options,
      onread,
    };
    super(all);
  }

  /** Chunks go to `take` from now on, past the stream; what the stream holds already comes as "data" first. */
  takeWith(take: Take | undefined): void {
    this.#take = take;
  }

  /** The last chunk is still being written somewhere: it is left to whoever has it. */
  keep(): void {
    this.#isKept = true;
  }

  #next(): Buffer {
    if (this.#isKept || this.#buffer.length !== this.#size) this.#buffer = Buffer.allocUnsafeSlow(this.#size);
    this.#isKept = false;
    return this.#buffer;
  }

  #read(bytes: number): boolean {
    const buffer = this.#buffer;
    if (bytes === buffer.length) this.#size = Math.min(MOST_BYTES, buffer.length * 4);
    else if (bytes < buffer.length / 16) this.#size = Math.max(FIRST_BYTES, buffer.length / 4);
    if (this.#take !== undefined && this.readableLength === 0) return this.#take(buffer.subarray(0, bytes));
    return this.push(Buffer.from(buffer.subarray(0, bytes)));
  }
}

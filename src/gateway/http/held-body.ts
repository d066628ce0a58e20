import type { RawHeaders } from '../../net/http-head.ts';
import type { BodySink, BodySource } from './contract.ts';

/** Bytes of bodies that one gateway holds back at once. */
export class HeldBytes {
  readonly #max: number;
  #held = 0;

  constructor(max: number) {
    this.#max = max;
  }

  /** Bytes held now. */
  get held(): number {
    return this.#held;
  }

  take(bytes: number): boolean {
    if (this.#held + bytes > this.#max) return false;
    this.#held += bytes;
    return true;
  }

  give(bytes: number): void {
    this.#held -= bytes;
  }
}

/** What one holder has of that room, as it grows and shrinks. */
export class HeldShare {
  readonly #room: HeldBytes;
  #bytes = 0;

  constructor(room: HeldBytes) {
    this.#room = room;
  }

  /** False: there is no room for so many, and it stays as it was. */
  resize(bytes: number): boolean {
    if (bytes > this.#bytes && !this.#room.take(bytes - this.#bytes)) return false;
    if (bytes < this.#bytes) this.#room.give(this.#bytes - bytes);
    this.#bytes = bytes;
    return true;
  }
}

/** Pieces below this are copied together, into buffers of at most the other. */
const SMALL_BYTES = 4096;
const GATHER_BYTES = 64 * 1024;
const NOTHING = Buffer.alloc(0);

/** Called once: the body is whole, or too long to be held, or broke. */
export interface HeldBodyHandlers {
  readonly whole: (body: Buffer) => void;
  /** What has come so far is kept, the source waits; `pipe` lets it go on. */
  readonly tooLong: () => void;
  readonly broken: () => void;
}

/** Holds a body back until it was looked at; then it is a source again. */
export class HeldBody implements BodySink, BodySource {
  readonly #room: HeldBytes;
  readonly #max: number;
  readonly #handlers: HeldBodyHandlers;
  #chunks: Buffer[] = [];
  #bytes = 0;
  /** Where small pieces are copied to, and how far it is full. */
  #gather: Buffer = NOTHING;
  #filled = 0;
  #state: 'filling' | 'whole' | 'long' | 'passing' | 'over' = 'filling';
  #trailers: RawHeaders | undefined;
  #ended = false;
  #sink: BodySink | undefined;
  #resume: (() => void) | undefined;

  constructor(room: HeldBytes, max: number, handlers: HeldBodyHandlers) {
    this.#room = room;
    this.#max = max;
    this.#handlers = handlers;
  }

  write(chunk: Buffer): boolean {
    if (this.#state === 'passing') return this.#sink?.write(chunk) !== false;
    if (this.#state === 'over') return true;
    this.#keep(chunk);
    const size = chunk.length;
    const fits = this.#state === 'filling' && this.#bytes + size <= this.#max && this.#room.take(size);
    if (fits) {
      this.#bytes += size;
      return true;
    }
    if (this.#state === 'filling') {
      this.#state = 'long';
      this.#handlers.tooLong();
    }
    // `tooLong` may have let it pass.
    return this.#isPassing();
  }

  /** Small pieces are copied together: as objects of their own, a MiB that comes byte by byte would take half a GiB. */
  #keep(chunk: Buffer): void {
    if (chunk.length >= SMALL_BYTES || this.#chunks.length === 0) {
      this.#filled = this.#gather.length;
      this.#chunks.push(chunk);
      return;
    }
    if (this.#gather.length - this.#filled < chunk.length) {
      this.#gather = Buffer.allocUnsafe(Math.max(chunk.length, Math.min(GATHER_BYTES, 2 * this.#bytes)));
      this.#filled = 0;
    }
    const start = this.#filled;
    this.#filled += chunk.copy(this.#gather, start);
    // What was gathered before is the last chunk: it grows in place.
    if (start > 0) this.#chunks.pop();
    this.#chunks.push(this.#gather.subarray(0, this.#filled));
  }

  onDrain(resume: () => void): void {
    this.#resume = resume;
  }

  end(trailers?: RawHeaders): void {
    if (this.#state === 'passing') return this.#sink?.end(trailers);
    this.#trailers = trailers;
    this.#ended = true;
    if (this.#state !== 'filling') return;
    this.#state = 'whole';
    const whole = this.#chunks.length === 1 ? (this.#chunks[0] ?? NOTHING) : Buffer.concat(this.#chunks);
    // Not twice in memory.
    this.#chunks = [whole];
    this.#handlers.whole(whole);
  }

  abort(): void {
    const { state, sink } = { state: this.#state, sink: this.#sink };
    this.drop();
    if (state === 'passing') sink?.abort();
    else if (state !== 'over') this.#handlers.broken();
  }

  /** Gives on what was held, then the rest as it comes. */
  pipe(sink: BodySink): void {
    const chunks = this.#chunks;
    this.#forget();
    this.#state = 'passing';
    this.#sink = sink;
    sink.onDrain(() => this.#resume?.());
    let more = true;
    for (const chunk of chunks) more = sink.write(chunk);
    if (this.#ended) sink.end(this.#trailers);
    else if (more) this.#resume?.();
  }

  cancel(): void {
    this.drop();
    this.#resume?.();
  }

  /** Nobody wants it any more. */
  drop(): void {
    this.#forget();
    this.#state = 'over';
  }

  #isPassing(): boolean {
    return this.#state === 'passing' || this.#state === 'over';
  }

  #forget(): void {
    this.#room.give(this.#bytes);
    this.#bytes = 0;
    this.#chunks = [];
    this.#gather = NOTHING;
    this.#filled = 0;
  }
}

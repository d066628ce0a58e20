import type { Http2Stream } from 'node:http2';
import type { RawHeaders } from '../../net/http-head.ts';
import type { BodySink, BodySource } from './contract.ts';
import { fromRaw, toTrailers } from './h2-fields.ts';
import { H2_CODE } from './h2-limits.ts';

/**
 * Knows whether the peer has ended its side with END_STREAM. Node gives "end" also for a stream that was reset (with NO_ERROR and CANCEL
 * it is the only event where our own side has ended), so what looks whole may not be.
 */
export class EndWatch {
  #whole: boolean;

  constructor(stream: Http2Stream, ended: boolean) {
    this.#whole = ended;
    const push = stream.push.bind(stream);
    // END_STREAM is pushed before the stream is closed, the substitute for a reset after it.
    stream.push = (chunk: unknown, encoding?: BufferEncoding): boolean => {
      if (chunk === null && !stream.closed) this.#whole = true;
      return push(chunk, encoding);
    };
  }

  get whole(): boolean {
    return this.#whole;
  }
}

export interface H2SourceOptions {
  /** Bytes that Content-Length promises. */
  readonly length?: number | undefined;
  /** Trailers are given on; else they are dropped. */
  readonly trailers: boolean;
  /** Looks at each chunk before it passes, and at the end (undefined); false: the body breaks off here. */
  readonly judge?: (chunk: Buffer | undefined) => boolean;
  /**
   * A reset with NO_ERROR ends the body, too (RFC 9113 §8.1: sent after a complete response). Node's own servers end an answer so, without
   * END_STREAM, when their program has not read the request.
   */
  readonly endsWithNoError?: boolean;
  /** Nobody wants the rest. */
  readonly onCancel: () => void;
  /** All of it was given on. */
  readonly onEnd?: () => void;
}

/** The received half of a stream. */
export class H2Source implements BodySource {
  readonly #stream: Http2Stream;
  readonly #watch: EndWatch;
  readonly #options: H2SourceOptions;
  #sink: BodySink | undefined;
  #trailers: RawHeaders | undefined;
  #received = 0;
  #held: Buffer | undefined;
  #over = false;

  constructor(stream: Http2Stream, watch: EndWatch, options: H2SourceOptions) {
    this.#stream = stream;
    this.#watch = watch;
    this.#options = options;
    // Trailers may come before anybody reads.
    if (options.trailers)
      stream.once('trailers', (_headers: unknown, _flags: unknown, raw: RawHeaders) => {
        this.#trailers = fromRaw(raw);
      });
  }

  /** Bytes so far. */
  get received(): number {
    return this.#received;
  }

  get over(): boolean {
    return this.#over;
  }

  pipe(sink: BodySink): void {
    this.#sink = sink;
    const stream = this.#stream;
    if (stream.destroyed || stream.aborted) return this.#abort();
    sink.onDrain(() => {
      if (!this.#over) stream.resume();
    });
    stream.on('data', (chunk: Buffer) => this.#onData(chunk));
    stream.once('end', () => this.#onEnd());
    stream.once('aborted', () => this.#abort());
    stream.once('close', () => this.#abort());
  }

  cancel(): void {
    if (this.#over) return;
    this.#over = true;
    this.#held = undefined;
    // Paused, not read and dropped: the peer's window is the bound, and the stream ends soon.
    this.#stream.pause();
    this.#options.onCancel();
  }

  #onData(chunk: Buffer): void {
    if (this.#over) return;
    this.#received += chunk.length;
    if (this.#options.judge?.(chunk) === false) return this.#abort();
    if (this.#received === this.#options.length) {
      // RFC 9113 §8.1.1: more than was promised makes the message malformed, and an origin must not have a whole one by then.
      this.#held = chunk;
      return;
    }
    if (this.#sink?.write(chunk) === false) this.#stream.pause();
  }

  #onEnd(): void {
    const { length } = this.#options;
    const short = length !== undefined && this.#received < length;
    const { endsWithNoError = false } = this.#options;
    const ended = this.#watch.whole || (endsWithNoError && this.#stream.rstCode === H2_CODE.none);
    if (!ended || short) return this.#abort();
    if (this.#over) return;
    if (this.#options.judge?.(undefined) === false) return this.#abort();
    this.#over = true;
    if (this.#held !== undefined) this.#sink?.write(this.#held);
    this.#held = undefined;
    this.#sink?.end(this.#trailers);
    this.#options.onEnd?.();
  }

  #abort(): void {
    if (this.#over) return;
    this.#over = true;
    this.#held = undefined;
    this.#sink?.abort();
  }
}

/** The sent half of a stream. */
export class H2Sink implements BodySink {
  readonly #stream: Http2Stream;
  readonly #cut: () => void;
  #trailers: RawHeaders | undefined;
  #given = 0;
  #open = true;
  #owesTrailers: boolean;

  /** `cut` ends the stream so that what was sent cannot be taken for a whole; `onWhole`: all of it was handed to the connection. */
  constructor(
    stream: Http2Stream,
    options: { readonly trailers: boolean; readonly cut: () => void; readonly onWhole?: () => void },
  ) {
    this.#stream = stream;
    this.#cut = options.cut;
    this.#owesTrailers = options.trailers;
    // Node says "finish" before it asks for trailers.
    if (options.trailers) {
      stream.once('wantTrailers', () => {
        this.#sendTrailers();
        options.onWhole?.();
      });
    } else stream.once('finish', () => options.onWhole?.());
  }

  get isWhole(): boolean {
    return this.#stream.writableFinished && !this.#owesTrailers;
  }

  /** Bytes that left for the peer's window, not those that wait for it. */
  get passed(): number {
    return this.#given - this.#stream.writableLength;
  }

  write(chunk: Buffer): boolean {
    if (!this.#isOpen() || chunk.length === 0) return true;
    this.#given += chunk.length;
    // A false for what nghttp2 takes at once would cost a turn of the event loop for each chunk.
    return this.#stream.write(chunk) || this.#stream.writableLength === 0;
  }

  onDrain(resume: () => void): void {
    this.#stream.on('drain', resume);
  }

  end(trailers?: RawHeaders): void {
    if (!this.#isOpen()) return;
    this.#open = false;
    this.#trailers = trailers;
    this.#stream.end();
  }

  abort(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#cut();
  }

  #isOpen(): boolean {
    return this.#open && !this.#stream.destroyed && !this.#stream.closed;
  }

  #sendTrailers(): void {
    if (this.#stream.destroyed || this.#stream.closed) return;
    this.#owesTrailers = false;
    this.#stream.sendTrailers(toTrailers(this.#trailers ?? []));
  }
}

/** Takes what is left of a body that has no receiver. */
export const NO_SINK: BodySink = Object.freeze({
  write: () => true,
  onDrain: () => undefined,
  end: () => undefined,
  abort: () => undefined,
});

import type { RawHeaders } from '../../net/http-head.ts';
import type { BodyWatch, Verdict } from '../contract.ts';
import type { BodySink } from './contract.ts';

/** Who is told what becomes of a body on its way. */
export interface MeterOwner {
  /** Counts bytes; a verdict stops them. */
  take(bytes: number): Verdict | undefined;
  /** The body must not go on: what was sent of it is cut. `found`: by the watch, not by a count. */
  cut(verdict: Verdict, found: boolean): void;
  /** All of it was handed on. */
  whole?(): void;
  /** The source broke. */
  broken?(): void;
}

/** Counts a body that passes, and looks at it when there is something to look for. */
export class MeteredSink implements BodySink {
  readonly #sink: BodySink;
  readonly #owner: MeterOwner;
  readonly #watch: BodyWatch | undefined;
  /** With a length announced, the last chunk completes the message: it waits until the watch has seen the end. */
  readonly #holdsLast: boolean;
  #last: Buffer | undefined;
  #open = true;

  constructor(sink: BodySink, owner: MeterOwner, watch?: BodyWatch, holdsLast = false) {
    this.#sink = sink;
    this.#owner = owner;
    this.#watch = watch;
    this.#holdsLast = holdsLast && watch !== undefined;
  }

  write(chunk: Buffer): boolean {
    if (!this.#open) return true;
    const over = this.#owner.take(chunk.length);
    const verdict = over ?? this.#watch?.update(chunk);
    if (verdict !== undefined) {
      this.#cut(verdict, over === undefined);
      return true;
    }
    if (!this.#holdsLast) return this.#sink.write(chunk);
    const before = this.#last;
    this.#last = chunk;
    return before === undefined || this.#sink.write(before);
  }

  get idle(): boolean {
    return this.#last === undefined && this.#sink.idle === true;
  }

  onDrain(resume: () => void): void {
    this.#sink.onDrain(resume);
  }

  end(trailers?: RawHeaders): void {
    if (!this.#open) return;
    const verdict = this.#watch?.end();
    if (verdict !== undefined) return this.#cut(verdict, true);
    this.#open = false;
    if (this.#last !== undefined) this.#sink.write(this.#last);
    this.#owner.whole?.();
    this.#sink.end(trailers);
  }

  abort(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#sink.abort();
    this.#owner.broken?.();
  }

  /** Drops whatever still comes. */
  stop(): void {
    this.#open = false;
  }

  #cut(verdict: Verdict, found: boolean): void {
    this.#open = false;
    this.#owner.cut(verdict, found);
  }
}

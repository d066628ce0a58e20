import type { Body } from '../../net/http-head.ts';
import { framingOf } from './admission.ts';
import type { BodySink, BodySource, ClientExchange } from './contract.ts';
import { HeldBody } from './held-body.ts';
import type { HeldBodyHandlers, HeldBytes } from './held-body.ts';
import type { Located } from './judge.ts';

/** Bytes that wait for an origin at once: what was held keeps its room until the last of them are on their way. */
const SLICE_BYTES = 256 * 1024;

/** The body of one request: held back where somebody has to look at it first, else passed on as it comes. */
export class RequestBody {
  readonly #exchange: ClientExchange;
  readonly #room: HeldBytes;
  #held: HeldBody | undefined;
  #whole: Buffer | undefined;
  #continued = false;

  constructor(exchange: ClientExchange, room: HeldBytes) {
    this.#exchange = exchange;
    this.#room = room;
  }

  /** All of it, where it was held. */
  get whole(): Buffer | undefined {
    return this.#whole;
  }

  /** Reads it all before anything else happens; up to `max` bytes. */
  hold(source: BodySource, max: number, handlers: HeldBodyHandlers): void {
    const whole = (body: Buffer): void => {
      this.#whole = body;
      handlers.whole(body);
    };
    this.#held = new HeldBody(this.#room, max, { ...handlers, whole });
    this.sendContinue();
    source.pipe(this.#held);
  }

  /** Another body leaves in its place: a secret was put in. */
  replace(body: Buffer | undefined): void {
    this.#whole = body;
  }

  /** How it is delimited on the way to the origin. */
  framing(located: Located | undefined): Body {
    return framingOf(this.#exchange, located, this.#whole);
  }

  /** Gives all of it to the sink. */
  pour(sink: BodySink): void {
    const whole = this.#whole;
    if (whole === undefined) return (this.#held ?? this.#exchange.source)?.pipe(sink);
    this.#whole = undefined;
    let at = 0;
    let done = false;
    const step = (): void => {
      while (at < whole.length) {
        const slice = whole.subarray(at, at + SLICE_BYTES);
        at += slice.length;
        if (!sink.write(slice) && at < whole.length) return;
      }
      if (done) return;
      done = true;
      this.drop();
      sink.end();
    };
    sink.onDrain(step);
    step();
  }

  /** The request has one. */
  get isThere(): boolean {
    return this.#exchange.source !== undefined;
  }

  /** The client may send it now. */
  sendContinue(): void {
    if (this.#continued || !this.#exchange.expectsContinue) return;
    this.#continued = true;
    this.#exchange.sendContinue();
  }

  /** What is held is not needed any more. */
  drop(): void {
    this.#held?.drop();
  }
}

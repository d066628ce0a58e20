import { Duplex } from 'node:stream';
import { GloveboxError } from '../base/errors.ts';
import { InboundStream, OutboundStream } from './flow.ts';
import { protocolError } from './frames.ts';
import type { Frame } from './frames.ts';
import { CHANNEL, FRAME, RESET_TAG } from './numbers.ts';
import { deferred, pair, readCredit } from './process.ts';
import type { Send, SessionStream } from './process.ts';
import { TlvRecord } from './tlv.ts';

/** The session's side of one connection to a port inside. */
export class DialStream implements SessionStream {
  readonly #in: InboundStream;
  readonly #out: OutboundStream;
  readonly #duplex: Duplex;
  readonly #connected = deferred<Duplex>();
  readonly #port: number;
  #open = false;
  #reset = false;
  #closed = false;

  constructor(port: number, send: Send) {
    this.#port = port;
    this.#in = new InboundStream((bytes) => send(FRAME.credit, pair(CHANNEL.out, bytes)));
    this.#out = new OutboundStream(
      (data) => send(FRAME.data, data),
      () => send(FRAME.dataEof),
      false,
    );
    this.#duplex = Duplex.from({ readable: this.#in, writable: this.#out });
    this.#duplex.on('error', () => undefined);
    this.#duplex.once('close', () => {
      if (!this.#closed && !(this.#in.over && this.#out.writableFinished)) send(FRAME.reset);
    });
  }

  get connected(): Promise<Duplex> {
    return this.#connected.promise;
  }

  get finished(): boolean {
    return this.#closed;
  }

  receive(frame: Frame): void {
    switch (frame.type) {
      case FRAME.dialOk:
        return this.#onOpen();
      case FRAME.data:
        if (!this.#open) throw protocolError('data before the connection');
        return this.#in.accept(frame.payload);
      case FRAME.dataEof:
        return this.#in.end();
      case FRAME.credit:
        return this.#out.credit(readCredit(frame.payload));
      case FRAME.reset:
        return this.#onReset(new TlvRecord(frame.payload).u32(RESET_TAG.errno));
      case FRAME.closed:
        return this.lost(undefined);
      default:
        throw protocolError(`frame type ${frame.type} on a connection`);
    }
  }

  lost(reason: GloveboxError | undefined): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#connected.reject(reason ?? new GloveboxError('E_SANDBOX_LOST', { what: 'the sandbox ended' }));
    this.#in.end();
    this.#out.abandon();
  }

  #onOpen(): void {
    if (this.#open || this.#reset) throw protocolError('a connection opened twice');
    this.#open = true;
    this.#out.start();
    this.#connected.resolve(this.#duplex);
  }

  #onReset(errno: number): void {
    if (this.#reset) throw protocolError('a connection was reset twice');
    this.#reset = true;
    const what = `nothing inside the sandbox answers on port ${this.#port}`;
    const next = 'Start the server first; `waitForPort` waits until it listens.';
    const error = new GloveboxError('E_IO', { what, next, context: { port: this.#port, errno } });
    this.#connected.reject(error);
    this.#in.end();
    this.#out.abandon();
    this.#duplex.destroy();
  }
}

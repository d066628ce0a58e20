import { Duplex } from 'node:stream';
import { FrameDecoder, encodeFrame } from './frames.ts';
import type { Frame } from './frames.ts';
import { EXIT_TAG, FRAME, HELLO_TAG, STARTED_TAG } from './numbers.ts';
import { AgentSession, type SessionOptions } from './session.ts';
import { TlvWriter } from './tlv.ts';

/** The agent's end of a channel, played by the test. */
export class FakeAgent {
  readonly sent: Frame[] = [];
  readonly session: AgentSession;
  readonly #channel: Duplex;

  constructor(options: SessionOptions = {}) {
    const decoder = new FrameDecoder();
    this.#channel = new Duplex({
      read: () => undefined,
      write: (chunk: Buffer, _encoding, done) => {
        for (const frame of decoder.push(chunk)) this.sent.push(frame);
        done();
      },
    });
    this.session = new AgentSession(this.#channel, { airlock: false, ...options });
  }

  bytes(data: Uint8Array): void {
    this.#channel.push(data);
  }

  say(type: number, stream: number, payload?: Uint8Array): void {
    this.bytes(encodeFrame(type, stream, payload));
  }

  hello(): this {
    const record = new TlvWriter()
      .u32(HELLO_TAG.version, 1)
      .u32(HELLO_TAG.landlockAbi, 7)
      .u32(HELLO_TAG.flags, 5);
    this.say(
      FRAME.hello,
      0,
      record.u32(HELLO_TAG.pid, 1).u32(HELLO_TAG.uid, 2).u32(HELLO_TAG.gid, 3).finish(),
    );
    return this;
  }

  started(stream: number): void {
    this.say(FRAME.started, stream, new TlvWriter().u32(STARTED_TAG.pid, 2).finish());
  }

  exited(stream: number, status = 0): void {
    this.say(
      FRAME.exit,
      stream,
      new TlvWriter().u32(EXIT_TAG.status, status).u32(EXIT_TAG.signal, 0).finish(),
    );
  }

  end(): void {
    this.#channel.push(null);
  }

  /** Closes the channel in both directions. */
  cut(): void {
    this.#channel.destroy();
  }

  framesOf(type: number): Frame[] {
    return this.sent.filter((frame) => frame.type === type);
  }
}

/** Lets what was said arrive. */
export const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

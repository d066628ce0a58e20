import type { Duplex } from 'node:stream';
import { CAPS } from '../base/caps.ts';
import { isGloveboxError } from '../base/errors.ts';
import type { AgentHello } from './contract.ts';
import { FrameDecoder, encodeFrame, protocolError, type Frame } from './frames.ts';
import { encodeHello } from './lifecycle.ts';
import { EXEC_TAG, FRAME } from './numbers.ts';
import type { SessionStream } from './process.ts';
import type { AgentSession, ForwardedStream } from './session.ts';
import { tlvRecords } from './tlv.ts';

export interface ShareInput {
  readonly session: AgentSession;
  /** The other process: it speaks the agent's protocol, from HELLO on. */
  readonly client: Duplex;
  /** What the agent said of itself, to be said again. */
  readonly hello: AgentHello;
  /** A command is about to start; it starts when this resolves. */
  readonly onCommand: (command: { readonly argv: readonly string[]; readonly cwd: string }) => Promise<void>;
}

/** Frames that begin a stream, and those that belong to one. */
const OPENING: ReadonlySet<number> = new Set([
  FRAME.exec,
  FRAME.dial,
  FRAME.file,
  FRAME.watch,
  FRAME.processes,
  FRAME.waitPort,
  FRAME.ports,
]);
const BELONGING: ReadonlySet<number> = new Set([
  FRAME.stdin,
  FRAME.stdinEof,
  FRAME.credit,
  FRAME.signal,
  FRAME.winsize,
  FRAME.data,
  FRAME.dataEof,
  FRAME.reset,
]);

/**
 * Lets another process of the same user use a session: its streams become streams of ours under other numbers, and its frames are
 * passed on as they are, so that flow control reaches from end to end. Resolves when it is gone; its streams are reset then.
 */
export async function shareSession(input: ShareInput): Promise<void> {
  const share = new Share(input);
  try {
    await share.run();
  } catch (error) {
    // What it said made no sense, or the sandbox ended under it; either way the connection ends, which is its answer.
    if (!isGloveboxError(error)) throw error;
  } finally {
    share.end();
  }
}

class Share {
  readonly #input: ShareInput;
  readonly #streams = new Map<number, ForwardedStream | 'pending'>();
  #lastId = 0;

  constructor(input: ShareInput) {
    this.#input = input;
  }

  async run(): Promise<void> {
    const { client, hello } = this.#input;
    client.write(encodeFrame(FRAME.hello, 0, encodeHello(hello)));
    const decoder = new FrameDecoder(CAPS.bootPayloadBytes);
    for await (const chunk of client as AsyncIterable<Buffer>) {
      for (const frame of decoder.push(chunk)) await this.#receive(frame);
    }
  }

  end(): void {
    for (const stream of this.#streams.values()) if (stream !== 'pending') stream.send(FRAME.reset);
    this.#streams.clear();
    this.#input.client.destroy();
  }

  async #receive(frame: Frame): Promise<void> {
    if (frame.stream === 0) return this.#receiveGlobal(frame);
    if (OPENING.has(frame.type)) return this.#open(frame);
    if (!BELONGING.has(frame.type) || frame.stream > this.#lastId) {
      throw protocolError(`frame type ${frame.type} for stream ${frame.stream} of another process`);
    }
    const stream = this.#streams.get(frame.stream);
    // Late: the stream has ended on the way.
    if (stream === undefined || stream === 'pending') return;
    stream.send(frame.type, frame.payload);
    await stream.drained();
  }

  #receiveGlobal(frame: Frame): void {
    if (frame.type !== FRAME.ping) throw protocolError(`frame type ${frame.type} from another process`);
    this.#input.client.write(encodeFrame(FRAME.pong, 0, frame.payload));
  }

  async #open(frame: Frame): Promise<void> {
    const { session, onCommand } = this.#input;
    const id = frame.stream;
    if (id <= this.#lastId) throw protocolError(`stream ${id} twice`);
    this.#lastId = id;
    if (frame.type === FRAME.exec) await onCommand(commandOf(frame.payload));
    this.#streams.set(id, 'pending');
    const forwarded = session.forward(frame.type, Buffer.from(frame.payload), this.#sink(id));
    if (this.#streams.has(id)) this.#streams.set(id, forwarded);
  }

  /** What the agent says on a stream goes to the other process under its own number. */
  #sink(id: number): SessionStream {
    const { client } = this.#input;
    const streams = this.#streams;
    let finished = false;
    return {
      receive: ({ type, payload }) => {
        finished = type === FRAME.closed;
        if (finished) streams.delete(id);
        if (client.writable) client.write(encodeFrame(type, id, payload));
      },
      lost: () => client.destroy(),
      get finished() {
        return finished;
      },
    };
  }
}

/** For the record: what an EXEC asks for. */
function commandOf(payload: Buffer): { readonly argv: readonly string[]; readonly cwd: string } {
  const argv: string[] = [];
  let cwd = '';
  for (const { tag, value } of tlvRecords(payload)) {
    if (tag === EXEC_TAG.argv) argv.push(value.toString());
    if (tag === EXEC_TAG.cwd) cwd = value.toString();
  }
  return { argv, cwd };
}

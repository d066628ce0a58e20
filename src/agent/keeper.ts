import type { Duplex } from 'node:stream';
import { GloveboxError } from '../base/errors.ts';
import { FrameDecoder, encodeFrame, protocolError, type Frame } from './frames.ts';
import { encodeThaw } from './machine.ts';
import type { MachineSpec } from './machine-contract.ts';
import { FRAME, FROZEN_TAG, GO_ON_TAG } from './numbers.ts';
import { deferred } from './process.ts';
import { TlvRecord, TlvWriter } from './tlv.ts';

/** With what a sandbox goes on: a clock alone, or all that makes a copy another machine. */
export type Thaw =
  | Pick<MachineSpec, 'clockNs'>
  | Pick<MachineSpec, 'clockNs' | 'seed' | 'hostname' | 'machineId'>;

/** The keeper has ten seconds for what it waits for, twice at most. An emulated machine under load takes its time besides. */
const ANSWER_MS = 60_000;

interface Waiting {
  readonly type: number;
  readonly resolve: (payload: Buffer) => void;
  readonly reject: (error: Error) => void;
}

/**
 * The host's end of the port of a machine's keeper, which holds the sandbox still and lets it go on. Nobody of the sandbox has that port, but
 * whoever took the machine over may: the first thing that is not the protocol ends it.
 */
export class MachineKeeper {
  readonly #channel: Duplex;
  readonly #decoder = new FrameDecoder();
  #waiting: Waiting | undefined;
  #failure: GloveboxError | undefined;

  constructor(channel: Duplex) {
    this.#channel = channel;
    channel.on('data', (chunk: Buffer) => this.#onData(chunk));
    const ended = (): void => this.#fail(lost('the machine ended'));
    channel.on('error', ended).once('end', ended).once('close', ended);
  }

  /** Resolves when every process of the sandbox stands still. @throws E_TIMEOUT when one does not, and all go on; E_SANDBOX_LOST */
  async freeze(): Promise<void> {
    const payload = await this.#ask(FRAME.freeze, FRAME.frozen);
    if (new TlvRecord(payload).u32(FROZEN_TAG.holds) === 1) return;
    throw new GloveboxError('E_TIMEOUT', {
      what: 'a process of the sandbox could not be stopped',
      why: 'it waits for something that the kernel does not interrupt, such as a file',
      next: 'Try again, or end the sandbox.',
    });
  }

  /** Resolves when they go on. @throws E_SANDBOX_LOST */
  async thaw(how: Thaw): Promise<void> {
    await this.#ask(FRAME.thaw, FRAME.thawed, encodeThaw(how));
  }

  #ask(type: number, answer: number, payload?: Buffer): Promise<Buffer> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    const { promise, resolve, reject } = deferred<Buffer>();
    this.#waiting = { type: answer, resolve, reject };
    this.#channel.write(encodeFrame(type, 0, payload));
    const timer = setTimeout(() => this.#fail(lost(`no answer within ${ANSWER_MS} ms`)), ANSWER_MS);
    return promise.finally(() => clearTimeout(timer));
  }

  #onData(chunk: Buffer): void {
    try {
      for (const frame of this.#decoder.push(chunk)) this.#receive(frame);
    } catch (error) {
      this.#fail(error instanceof GloveboxError ? error : protocolError(String(error)));
    }
  }

  #receive({ type, stream, payload }: Frame): void {
    const waiting = this.#waiting;
    if (waiting === undefined || stream !== 0 || type !== waiting.type)
      throw protocolError(`frame type ${type} from a machine's keeper`);
    this.#waiting = undefined;
    waiting.resolve(payload);
  }

  #fail(error: GloveboxError): void {
    this.#failure ??= error;
    this.#waiting?.reject(error);
    this.#waiting = undefined;
    this.#channel.destroy();
  }
}

/** First word to the agent of a copied machine, instead of a boot: it leaves what its former host asked for behind, and says hello. */
export function encodeAdoption(): Buffer {
  return encodeFrame(FRAME.goOn, 0, new TlvWriter().u8(GO_ON_TAG.copy, 1).finish());
}

function lost(why: string): GloveboxError {
  return new GloveboxError('E_SANDBOX_LOST', { what: 'the keeper of the machine does not answer', why });
}

import { GloveboxError } from '../base/errors.ts';
import { encodeWinsize } from './boot.ts';
import type { AgentExit, AgentProcess } from './contract.ts';
import { InboundStream, OutboundStream } from './flow.ts';
import { protocolError } from './frames.ts';
import { commandError } from './start-error.ts';
import type { Frame } from './frames.ts';
import { CHANNEL, EXIT_TAG, FRAME, STARTED_TAG } from './numbers.ts';
import { TlvRecord } from './tlv.ts';

/** Sends a frame on a stream. */
export type Send = (type: number, payload?: Uint8Array) => void;

/** What the session needs to know about a stream. */
export interface SessionStream {
  /** A frame for this stream. Throws `E_PROTOCOL`. */
  receive(frame: Frame): void;
  /** The session is over: `reason` is undefined for an orderly end. */
  lost(reason: GloveboxError | undefined): void;
  /** True when no further frame may come. */
  readonly finished: boolean;
}

/** Two numbers, little-endian: the payload of CREDIT and SIGNAL. */
export function pair(first: number, second: number): Buffer {
  const data = Buffer.allocUnsafe(8);
  data.writeUInt32LE(first, 0);
  data.writeUInt32LE(second, 4);
  return data;
}

/** The payload of SIGNAL. Throws `E_USAGE` for a number that is no signal: the agent would end the sandbox. */
export function signalPayload(signal: number, flags: number): Buffer {
  if (Number.isInteger(signal) && signal >= 1 && signal <= 64) return pair(signal, flags);
  throw new GloveboxError('E_USAGE', { what: `${signal} is not the number of a signal` });
}

/** The credit of a CREDIT frame from the agent. */
export function readCredit(payload: Buffer): number {
  if (payload.length !== 8 || payload.readUInt32LE(0) !== CHANNEL.in)
    throw protocolError('a malformed CREDIT');
  return payload.readUInt32LE(4);
}

function readExit(payload: Buffer, cwd: string | undefined): AgentExit {
  const where = cwd === undefined ? {} : { cwd };
  const record = new TlvRecord(payload);
  const signal = record.u32(EXIT_TAG.signal);
  const errno = record.u32(EXIT_TAG.execErrno, 0);
  const status = record.u32(EXIT_TAG.status);
  if (status > 255 || signal > 64) throw protocolError('an impossible exit status');
  return {
    status,
    signal: signal === 0 ? undefined : signal,
    userUs: record.u64(EXIT_TAG.utimeUs, 0),
    systemUs: record.u64(EXIT_TAG.stimeUs, 0),
    maxRssKib: record.u64(EXIT_TAG.maxRssKib, 0),
    refused: errno === 0 ? undefined : { stage: record.label(EXIT_TAG.execStage, 32), errno, ...where },
  };
}

interface Deferred<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (error: Error) => void;
}

/** A promise that is settled from outside and never counts as unhandled. */
export function deferred<T>(): Deferred<T> {
  let resolve: (value: T) => void = () => undefined;
  let reject: (error: Error) => void = () => undefined;
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  promise.catch(() => undefined);
  return { promise, resolve, reject };
}

/** The session's side of one command. */
export class CommandStream implements SessionStream, AgentProcess {
  readonly id: number;
  readonly stdin: OutboundStream;
  readonly stdout: InboundStream;
  readonly stderr: InboundStream;
  readonly control: InboundStream;
  readonly #send: Send;
  readonly #cwd: string | undefined;
  readonly #started = deferred<number>();
  readonly #exit = deferred<AgentExit>();
  #pid: number | undefined;
  #exited = false;
  #closed = false;

  /** `cwd` is where it was to start, for the message. */
  constructor(id: number, send: Send, cwd?: string) {
    this.id = id;
    this.#send = send;
    this.#cwd = cwd;
    this.stdin = new OutboundStream(
      (data) => send(FRAME.stdin, data),
      () => send(FRAME.stdinEof),
    );
    this.stdout = new InboundStream((bytes) => send(FRAME.credit, pair(CHANNEL.out, bytes)));
    this.stderr = new InboundStream((bytes) => send(FRAME.credit, pair(CHANNEL.err, bytes)));
    this.control = new InboundStream((bytes) => send(FRAME.credit, pair(CHANNEL.control, bytes)));
  }

  get started(): Promise<number> {
    return this.#started.promise;
  }

  get exit(): Promise<AgentExit> {
    return this.#exit.promise;
  }

  get finished(): boolean {
    return this.#closed;
  }

  /** True when the agent has said how the command ended. */
  get hasExited(): boolean {
    return this.#exited;
  }

  kill(signal: number): void {
    if (!this.#closed) this.#send(FRAME.signal, signalPayload(signal, 0));
  }

  resize(rows: number, cols: number): void {
    if (!this.#closed) this.#send(FRAME.winsize, encodeWinsize(rows, cols));
  }

  abandon(): void {
    if (!this.#closed) this.#send(FRAME.reset);
  }

  receive(frame: Frame): void {
    switch (frame.type) {
      case FRAME.stdout:
        return this.stdout.accept(frame.payload);
      case FRAME.stderr:
        return this.stderr.accept(frame.payload);
      case FRAME.data:
        return this.control.accept(frame.payload);
      case FRAME.credit:
        return this.stdin.credit(readCredit(frame.payload));
      case FRAME.started:
        return this.#onStarted(frame.payload);
      case FRAME.outEof:
        return this.#onOutEof(frame.payload);
      case FRAME.exit:
        return this.#onExit(readExit(frame.payload, this.#cwd));
      case FRAME.closed:
        return this.#onClosed();
      default:
        throw protocolError(`frame type ${frame.type} on a command`);
    }
  }

  lost(reason: GloveboxError | undefined): void {
    if (this.#closed) return;
    this.#closed = true;
    const error =
      reason ??
      new GloveboxError('E_SANDBOX_LOST', { what: 'the sandbox ended before the command answered' });
    this.#started.reject(error);
    this.#exit.reject(error);
    this.#endOutput();
  }

  #onStarted(payload: Buffer): void {
    if (this.#pid !== undefined || this.#exited) throw protocolError('a command started twice');
    this.#pid = new TlvRecord(payload).u32(STARTED_TAG.pid);
    this.#started.resolve(this.#pid);
  }

  #onOutEof(payload: Buffer): void {
    const channel = payload.length === 4 ? payload.readUInt32LE() : -1;
    this.#outputOf(channel).end();
  }

  #outputOf(channel: number): InboundStream {
    if (channel === CHANNEL.out) return this.stdout;
    if (channel === CHANNEL.err) return this.stderr;
    if (channel === CHANNEL.control) return this.control;
    throw protocolError('a malformed OUT_EOF');
  }

  #onExit(exit: AgentExit): void {
    if (this.#exited) throw protocolError('a command ended twice');
    if ((this.#pid === undefined) !== (exit.refused !== undefined))
      throw protocolError('EXIT does not fit STARTED');
    this.#exited = true;
    const refusal = commandError(exit, 'the command');
    if (refusal !== undefined) this.#started.reject(refusal);
    this.stdin.abandon();
    this.#exit.resolve(exit);
  }

  #onClosed(): void {
    if (!this.#exited) throw protocolError('a command closed before it ended');
    this.#closed = true;
    this.#endOutput();
  }

  #endOutput(): void {
    this.stdout.end();
    this.stderr.end();
    this.control.end();
    this.stdin.abandon();
  }
}

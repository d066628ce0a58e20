import { GloveboxError } from '../base/errors.ts';
import { pathToBytes } from '../base/path-bytes.ts';
import type { PathBytes } from './contract.ts';
import { onAbort } from './abort.ts';
import { abortedError } from './file-errors.ts';
import { InboundStream, OutboundStream } from './flow.ts';
import { protocolError } from './frames.ts';
import type { Frame } from './frames.ts';
import { CHANNEL, FILE_OP, FRAME, WORK_FLAG, WORK_TAG, WRITE_HOW } from './numbers.ts';
import { deferred, pair, readCredit } from './process.ts';
import type { Send, SessionStream } from './process.ts';
import { readDone, type WorkResult } from './records.ts';
import { TlvWriter } from './tlv.ts';

/** A request for work, see docs/design/agent-protocol.md. */
export interface WorkSpec {
  readonly op?: keyof typeof FILE_OP;
  readonly path?: PathBytes;
  readonly target?: PathBytes;
  readonly flags?: readonly (keyof typeof WORK_FLAG | false | undefined)[];
  readonly mode?: number | undefined;
  readonly offset?: number | undefined;
  readonly length?: number | undefined;
  readonly depth?: number;
  readonly max?: number;
  readonly port?: number;
  readonly timeoutMs?: number;
  readonly how?: keyof typeof WRITE_HOW;
}

const whole = (value: number, max: number): boolean =>
  Number.isSafeInteger(value) && value >= 0 && value <= max;

/** Throws `E_FILE_NAME` or `E_USAGE` for what the agent would take for a violation. */
export function encodeWork(spec: WorkSpec): Buffer {
  const out = new TlvWriter();
  if (spec.op !== undefined) out.u8(WORK_TAG.op, FILE_OP[spec.op]);
  if (spec.path !== undefined) out.bytes(WORK_TAG.path, pathBytes(spec.path, true));
  if (spec.target !== undefined) out.bytes(WORK_TAG.target, pathBytes(spec.target, spec.op !== 'symlink'));
  const flags = (spec.flags ?? []).reduce((sum, flag) => (flag ? sum | WORK_FLAG[flag] : sum), 0);
  if (flags !== 0) out.u32(WORK_TAG.flags, flags);
  number(spec.mode, 0o7777, 'a mode', (value) => out.u32(WORK_TAG.mode, value));
  number(spec.offset, Number.MAX_SAFE_INTEGER, 'an offset', (value) => out.u64(WORK_TAG.offset, value));
  number(spec.length, Number.MAX_SAFE_INTEGER, 'a length', (value) => out.u64(WORK_TAG.length, value));
  number(spec.depth, 64, 'a depth', (value) => out.u32(WORK_TAG.depth, Math.max(1, value)));
  number(spec.max, 0xffff_ffff, 'a number of entries', (value) => out.u32(WORK_TAG.max, value));
  number(spec.port, 65_535, 'a port', (value) => out.u32(WORK_TAG.port, value));
  number(spec.timeoutMs, 86_400_000, 'a time in milliseconds', (value) => out.u32(WORK_TAG.timeout, value));
  if (spec.how !== undefined) out.u8(WORK_TAG.how, WRITE_HOW[spec.how]);
  return out.finish();
}

function number(
  value: number | undefined,
  max: number,
  what: string,
  write: (value: number) => unknown,
): void {
  if (value === undefined) return;
  if (!whole(value, max))
    throw new GloveboxError('E_USAGE', { what: `${value} is not ${what} between 0 and ${max}` });
  write(value);
}

/** PATH_MAX (limits.h), its NUL included. */
const PATH_MAX_BYTES = 4096;

function pathBytes(path: PathBytes, absolute: boolean): Uint8Array {
  const bytes = typeof path === 'string' ? pathToBytes(path) : path;
  const why =
    bytes.length === 0
      ? 'it is empty'
      : bytes.includes(0)
        ? 'it contains a NUL byte'
        : bytes.length >= PATH_MAX_BYTES
          ? `it has ${bytes.length} bytes`
          : absolute && bytes[0] !== 0x2f
            ? 'it is not absolute'
            : undefined;
  if (why === undefined) return bytes;
  throw new GloveboxError('E_FILE_NAME', { what: 'this cannot be a path inside the sandbox', why });
}

/** What the session is asked to do, and how a failure reads. */
export interface WorkOrder {
  readonly type: number;
  readonly payload: Buffer;
  /** For people: `reading /a`. */
  readonly title: string;
  readonly error: (result: WorkResult) => GloveboxError;
  readonly signal?: AbortSignal | undefined;
}

/** How long what was called off may take to end inside: a command may hold it up, and the caller wants to be off. */
const CALL_OFF_MS = 500;

/**
 * The session's side of one piece of work: content in, content or records out, a result at the end. What is called off by its signal
 * is `E_ABORTED` once it has ended inside, so that what the caller does next is not overtaken by it.
 */
export class WorkStream implements SessionStream {
  readonly input: OutboundStream;
  readonly output: InboundStream;
  readonly #send: Send;
  readonly #order: WorkOrder;
  readonly #done = deferred<WorkResult>();
  readonly #forgetSignal: () => void;
  #eof = false;
  #over = false;
  #reset = false;
  #closed = false;
  #calledOff: { readonly error: GloveboxError; readonly timer: NodeJS.Timeout } | undefined;

  constructor(order: WorkOrder, send: Send) {
    this.#order = order;
    this.#send = send;
    this.input = new OutboundStream(
      (data) => send(FRAME.data, data),
      () => send(FRAME.dataEof),
    );
    this.output = new InboundStream((bytes) => send(FRAME.credit, pair(CHANNEL.out, bytes)));
    // The result carries the error; a stream that nobody looks at must not bring the process down with it.
    this.output.on('error', () => undefined);
    this.output.once('close', () => this.abandon());
    this.#forgetSignal = onAbort(order.signal, () => this.#giveUp(order.signal));
  }

  /** Rejects with the order's error when it failed. */
  get done(): Promise<WorkResult> {
    return this.#done.promise;
  }

  get finished(): boolean {
    return this.#closed;
  }

  /** Gives up; the child inside tidies up and ends. */
  abandon(): void {
    this.#giveUp();
  }

  receive(frame: Frame): void {
    switch (frame.type) {
      case FRAME.data:
        if (this.#eof) throw protocolError('data after its end');
        return this.output.over ? undefined : this.output.accept(frame.payload);
      case FRAME.dataEof:
        if (this.#eof) throw protocolError('an end after the end');
        this.#eof = true;
        return;
      case FRAME.credit:
        return this.input.credit(readCredit(frame.payload));
      case FRAME.done:
        return this.#onDone(readDone(frame.payload));
      case FRAME.closed:
        if (!this.#over) throw protocolError('work closed before its result');
        this.#closed = true;
        return;
      default:
        throw protocolError(`frame type ${frame.type} on work`);
    }
  }

  lost(reason: GloveboxError | undefined): void {
    if (this.#closed) return;
    this.#closed = this.#over = true;
    this.#settle(
      this.#calledOff?.error ??
        reason ??
        new GloveboxError('E_SANDBOX_LOST', { what: `the sandbox ended while ${this.#order.title}` }),
    );
  }

  #onDone(result: WorkResult): void {
    if (this.#over) throw protocolError('work ended twice');
    if (result.errno === 0 && !this.#eof && !this.#reset) throw protocolError('work ended before its data');
    this.#over = true;
    if (this.#calledOff !== undefined) return this.#settle(this.#calledOff.error);
    if (result.errno !== 0) return this.#settle(this.#order.error(result));
    this.#done.resolve(result);
    this.output.end();
    this.#release();
  }

  #giveUp(signal?: AbortSignal): void {
    if (this.#over || this.#reset || this.#closed) return;
    this.#reset = true;
    this.#send(FRAME.reset);
    const error = abortedError(this.#order.title, signal);
    // Without a signal it was the reader who left: nobody waits.
    if (signal === undefined) return this.#settle(error);
    const timer = setTimeout(() => this.#settle(error), CALL_OFF_MS);
    this.#calledOff = { error, timer };
    this.output.fail(error);
    this.#release();
  }

  #settle(error: GloveboxError): void {
    clearTimeout(this.#calledOff?.timer);
    this.#done.reject(error);
    this.output.fail(error);
    this.#release();
  }

  #release(): void {
    this.input.abandon();
    this.#forgetSignal();
  }
}

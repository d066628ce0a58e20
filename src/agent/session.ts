import type { Duplex } from 'node:stream';
import { CAPS } from '../base/caps.ts';
import { GloveboxError, isGloveboxError } from '../base/errors.ts';
import { encodeExecSpec } from './boot.ts';
import { DialStream } from './connection.ts';
import type { AgentChannel, AgentHello, AgentProcess, AirlockReady, ExecSpec } from './contract.ts';
import { abortedError } from './file-errors.ts';
import { AgentFiles } from './files.ts';
import type { Abortable, AgentFileAccess, ListeningPort, SandboxProcess } from './files-contract.ts';
import { FrameDecoder, encodeFrame, protocolError } from './frames.ts';
import type { Frame } from './frames.ts';
import { listPorts, listProcesses, waitForPort } from './inside.ts';
import { readError, readHello, readReady } from './lifecycle.ts';
import { FRAME, ONESHOT_STREAM, SIGNAL_FLAG } from './numbers.ts';
import { CommandStream, deferred, signalPayload } from './process.ts';
import type { Send, SessionStream } from './process.ts';
import { WorkStream, type WorkOrder } from './work.ts';

/** A stream of somebody else. */
export interface ForwardedStream {
  readonly send: Send;
  drained(): Promise<void>;
}

/** How a session begins. */
export interface SessionOptions {
  /** True when the airlock stage speaks first on this channel. Default true. */
  readonly airlock?: boolean;
  /** True when the boot names the command itself; it is then `main`. */
  readonly oneshot?: boolean;
  /** Asked when the channel ends while the agent had not said goodbye: why that was, or undefined when it was meant to. */
  readonly explain?: () => Promise<Error | undefined>;
  /** Told when the sandbox's own kernel ended something for want of memory. Absent: it has none, and says no such thing. */
  readonly onOutOfMemory?: () => void;
}

/**
 * The host end of one sandbox's agent, over its channel. Everything that arrives is hostile: the first thing that is not the
 * protocol ends the session with `E_PROTOCOL`. No stream holds more than its window.
 */
export class AgentSession implements AgentChannel {
  readonly files: AgentFileAccess = new AgentFiles((order) => this.work(order));
  readonly #channel: Duplex;
  readonly #decoder = new FrameDecoder();
  readonly #streams = new Map<number, SessionStream>();
  readonly #ready = deferred<AirlockReady>();
  readonly #hello = deferred<AgentHello>();
  readonly #closed = deferred<Error | undefined>();
  readonly #main: CommandStream | undefined;
  readonly #explain: SessionOptions['explain'];
  readonly #onOutOfMemory: SessionOptions['onOutOfMemory'];
  #explaining = false;
  #leaving = false;
  #state: 'airlock' | 'boot' | 'open' | 'closed';
  #lastId = ONESHOT_STREAM;
  #pings: (() => void)[] = [];
  #reason: GloveboxError | undefined;
  /** Between `quiesce` and `goOn`: what waits to be said. */
  #held: Buffer[] | undefined;
  #quiet: (() => void) | undefined;

  constructor(channel: Duplex, options: SessionOptions = {}) {
    this.#channel = channel;
    this.#state = options.airlock === false ? 'boot' : 'airlock';
    if (options.oneshot === true) this.#main = this.#addCommand(ONESHOT_STREAM);
    channel.on('data', (chunk: Buffer) => this.#onData(chunk));
    this.#explain = options.explain;
    this.#onOutOfMemory = options.onOutOfMemory;
    channel.on('error', () => this.#ended());
    channel.once('end', () => this.#ended());
    channel.once('close', () => this.#ended());
  }

  get ready(): Promise<AirlockReady> {
    return this.#ready.promise;
  }

  get hello(): Promise<AgentHello> {
    return this.#hello.promise;
  }

  get closed(): Promise<Error | undefined> {
    return this.#closed.promise;
  }

  /** The command of a one-shot boot. Throws when the boot serves commands. */
  get main(): AgentProcess {
    if (this.#main === undefined)
      throw new GloveboxError('E_INTERNAL', { what: 'this sandbox has no main command' });
    return this.#main;
  }

  /** Starts a command in a serving sandbox. Throws `E_SANDBOX_CLOSED`, or `E_LIMIT_EXCEEDED` at `CAPS.streamCount`. */
  exec(spec: ExecSpec): AgentProcess {
    if (spec.stdio?.includes('inherit') === true) {
      throw new GloveboxError('E_USAGE', {
        what: 'only the command of a one-shot sandbox can inherit descriptors',
      });
    }
    const payload = encodeExecSpec(spec);
    const id = this.#claimId();
    const command = this.#addCommand(id, spec.cwd);
    this.#write(FRAME.exec, id, payload);
    return command;
  }

  /** A connection to a port on the sandbox's loopback; rejects with `E_IO` when nothing listens. */
  async dial(port: number): Promise<Duplex> {
    if (!Number.isInteger(port) || port < 1 || port > 65_535) {
      throw new GloveboxError('E_USAGE', { what: `${port} is not a port number` });
    }
    const id = this.#claimId();
    const payload = Buffer.allocUnsafe(4);
    payload.writeUInt32LE(port);
    const stream = new DialStream(port, this.#sender(id));
    this.#streams.set(id, stream);
    this.#write(FRAME.dial, id, payload);
    return stream.connected;
  }

  /** Begins a piece of work in a serving sandbox. Throws as `exec` does. */
  work(order: WorkOrder): WorkStream {
    if (order.signal?.aborted === true) throw abortedError(order.title, order.signal);
    const id = this.#claimId();
    const stream = new WorkStream(order, this.#sender(id));
    this.#streams.set(id, stream);
    this.#write(order.type, id, order.payload);
    return stream;
  }

  /** A stream whose frames somebody else makes and reads: another process that shares this session. Throws as `exec` does. */
  forward(type: number, payload: Uint8Array, stream: SessionStream): ForwardedStream {
    const id = this.#claimId();
    this.#streams.set(id, stream);
    this.#write(type, id, payload);
    return { send: this.#sender(id), drained: () => this.#drained() };
  }

  /** Streams that are open: commands, connections and work. */
  get streamCount(): number {
    return this.#streams.size;
  }

  processes(options: Abortable = {}): Promise<readonly SandboxProcess[]> {
    return listProcesses((order) => this.work(order), options);
  }

  ports(options: Abortable = {}): Promise<readonly ListeningPort[]> {
    return listPorts((order) => this.work(order), options);
  }

  waitForPort(port: number, options: Abortable & { readonly timeoutMs?: number } = {}): Promise<void> {
    return waitForPort((order) => this.work(order), port, options);
  }

  signalAll(signal: number): void {
    this.#write(FRAME.signal, 0, signalPayload(signal, SIGNAL_FLAG.all));
  }

  ping(): Promise<void> {
    if (this.#state === 'closed') return Promise.reject(this.#lostError());
    const { promise, resolve } = deferred<void>();
    this.#pings.push(resolve);
    this.#write(FRAME.ping, 0);
    return Promise.race([promise, this.closed.then(() => Promise.reject(this.#lostError()))]);
  }

  async shutdown(graceMs: number = CAPS.graceMs): Promise<void> {
    const payload = Buffer.allocUnsafe(4);
    payload.writeUInt32LE(graceMs);
    this.#leaving = true;
    this.#write(FRAME.shutdown, 0, payload);
    await this.closed;
  }

  /** Ends the session: the agent notices that its channel is gone and kills everything. */
  destroy(reason?: Error): void {
    this.#end(reason);
  }

  /**
   * Resolves when nothing is on its way in either direction any more, and nothing more will be until `goOn`: what is asked for meanwhile
   * waits. Preconditions: it serves commands, and is not quiet already.
   */
  async quiesce(): Promise<void> {
    const { promise, resolve } = deferred<void>();
    this.#quiet = resolve;
    this.#write(FRAME.quiesce, 0);
    this.#held = [];
    await Promise.race([promise, this.closed.then(() => Promise.reject(this.#lostError()))]);
  }

  /** Ends what `quiesce` began. */
  goOn(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    this.#write(FRAME.goOn, 0);
    for (const frame of held) this.#send(frame);
  }

  #claimId(): number {
    if (this.#state === 'closed')
      throw new GloveboxError('E_SANDBOX_CLOSED', { what: 'the sandbox has ended' });
    if (this.#streams.size >= CAPS.streamCount) {
      throw new GloveboxError('E_LIMIT_EXCEEDED', {
        what: `${CAPS.streamCount} streams are open in this sandbox`,
      });
    }
    this.#lastId += 1;
    return this.#lastId;
  }

  #addCommand(id: number, cwd?: string): CommandStream {
    const command = new CommandStream(id, this.#sender(id), cwd);
    this.#streams.set(id, command);
    return command;
  }

  #sender(id: number): Send {
    return (type, payload) => {
      if (this.#streams.has(id)) this.#write(type, id, payload);
    };
  }

  #write(type: number, stream: number, payload?: Uint8Array): void {
    const frame = encodeFrame(type, stream, payload);
    if (this.#held === undefined) this.#send(frame);
    else this.#held.push(frame);
  }

  #send(frame: Buffer): void {
    if (this.#state !== 'closed' && this.#channel.writable) this.#channel.write(frame);
  }

  /** Resolves when the channel takes more. */
  #drained(): Promise<void> {
    if (!this.#channel.writableNeedDrain) return Promise.resolve();
    return Promise.race([
      new Promise<void>((resolve) => {
        this.#channel.once('drain', resolve);
      }),
      this.closed.then(() => undefined),
    ]);
  }

  #onData(chunk: Buffer): void {
    try {
      for (const frame of this.#decoder.push(chunk)) {
        if (this.#state === 'closed') return;
        this.#receive(frame);
      }
    } catch (error) {
      this.#end(isGloveboxError(error) ? error : protocolError(String(error)));
    }
  }

  #receive(frame: Frame): void {
    // A machine's channel has no end of its own.
    if (frame.type === FRAME.machineEnded && frame.stream === 0) return this.#ended();
    if (frame.type === FRAME.error && frame.stream === 0) {
      throw readError(frame.payload, this.#state === 'open');
    }
    if (frame.type === FRAME.oom && frame.stream === 0 && this.#onOutOfMemory !== undefined)
      return this.#onOutOfMemory();
    if (this.#state !== 'open') return this.#receiveBoot(frame);
    if (frame.stream === 0) return this.#receiveOwn(frame);
    const stream = this.#streams.get(frame.stream);
    if (stream === undefined) throw protocolError(`a frame for stream ${frame.stream}, which is not open`);
    stream.receive(frame);
    if (stream.finished) this.#streams.delete(frame.stream);
  }

  #receiveBoot(frame: Frame): void {
    if (this.#state === 'airlock' && frame.type === FRAME.airlockReady) {
      this.#ready.resolve(readReady(frame.payload));
      this.#state = 'boot';
      return;
    }
    if (this.#state !== 'boot' || frame.type !== FRAME.hello)
      throw protocolError(`frame type ${frame.type} before HELLO`);
    this.#hello.resolve(readHello(frame.payload));
    this.#state = 'open';
  }

  #receiveOwn(frame: Frame): void {
    if (frame.type !== FRAME.quiet || this.#quiet === undefined) return this.#receivePong(frame);
    this.#quiet();
    this.#quiet = undefined;
  }

  #receivePong(frame: Frame): void {
    const answer = this.#pings.shift();
    if (frame.type !== FRAME.pong || answer === undefined)
      throw protocolError(`an unexpected frame type ${frame.type}`);
    answer();
  }

  /** The channel is gone; asking for the reason takes a moment, and is done once. */
  #ended(): void {
    const explain = this.#explain;
    const meant = this.#leaving || this.#main?.hasExited === true;
    // The channel tells its end more than once; the first time has asked.
    if (this.#explaining) return;
    if (explain === undefined || meant || this.#state === 'closed') return this.#end(undefined);
    this.#explaining = true;
    void explain().then((reason) => this.#end(reason));
  }

  #end(reason: Error | undefined): void {
    if (this.#state === 'closed') return;
    const started = this.#state === 'open';
    const orderly = started && this.#decoder.pending === 0;
    this.#state = 'closed';
    if (reason !== undefined) this.#reason = isGloveboxError(reason) ? reason : this.#wrap(reason);
    else if (!orderly) this.#reason = this.#earlyEnd(started);
    this.#ready.reject(this.#reason ?? this.#lostError());
    this.#hello.reject(this.#reason ?? this.#lostError());
    for (const stream of this.#streams.values()) stream.lost(this.#reason);
    this.#streams.clear();
    this.#channel.destroy();
    this.#closed.resolve(this.#reason);
  }

  #earlyEnd(started: boolean): GloveboxError {
    const what = started
      ? 'the sandbox ended in the middle of a message'
      : 'the sandbox ended while it started';
    return new GloveboxError(started ? 'E_SANDBOX_LOST' : 'E_SANDBOX_START', { what });
  }

  #wrap(cause: Error): GloveboxError {
    return new GloveboxError('E_SANDBOX_LOST', { what: 'the sandbox was ended', why: cause.message, cause });
  }

  #lostError(): GloveboxError {
    return this.#reason ?? new GloveboxError('E_SANDBOX_LOST', { what: 'the sandbox ended' });
  }
}

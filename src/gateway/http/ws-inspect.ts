import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { WS_CLOSE, WS_OPCODE, WsReader, closePayload, writeWsFrame } from '../../net/ws-frames.ts';
import type { WsCloseCode, WsFrame, WsRead } from '../../net/ws-frames.ts';
import { WsAssembler } from '../../net/ws-frames-message.ts';
import type { WsMessage } from '../../net/ws-frames-message.ts';
import type { Verdict } from '../contract.ts';
import type { Meter, TunnelOptions, TunnelResult } from '../tunnel.ts';
import { reset, sayAndClose } from '../wire.ts';
import { HeldShare } from './held-body.ts';
import type { HeldBytes } from './held-body.ts';

export interface WebSocketLimits {
  /** Bytes of one message; of one frame from the origin. Held in memory for each direction. */
  readonly messageBytes: number;
  /** Time and bytes that either side gets to read a close frame. */
  readonly lingerMs: number;
  readonly lingerBytes: number;
}

/** What a message may be at most unless the rule says otherwise: real-time APIs take 15 MiB. */
export const WS_MESSAGE_BYTES = 16 * 1024 * 1024;

export interface WebSocketOptions extends TunnelOptions {
  readonly limits: WebSocketLimits;
  /** Room for what is held of messages, shared with others. */
  readonly room: HeldBytes;
  /**
   * Asked for every whole message of the client, and for every payload of its control frames. A verdict ends the connection with
   * 1008; while one is awaited nothing of the client is read. Never rejects.
   */
  readonly onMessage: (message: WsMessage) => Verdict | undefined | Promise<Verdict | undefined>;
  /** Present: messages of the origin go on whole too, as this returns them; their length stays. */
  readonly clean?: (data: Buffer) => Buffer;
}

/**
 * Joins a client and an origin that agreed on WebSocket without extensions. Every frame is checked and written anew; messages of
 * the client go on whole, after they were judged, those of the origin frame by frame unless they are cleaned. Back-pressure in both
 * directions.
 */
export function inspectWebSocket(client: Socket, upstream: Socket, options: WebSocketOptions): void {
  new WebSocketRelay(client, upstream, options).start();
}

class WebSocketRelay {
  readonly #client: Socket;
  readonly #upstream: Socket;
  readonly #options: WebSocketOptions;
  readonly #bytes = { up: 0, down: 0 };
  readonly #assembler = new WsAssembler();
  readonly #fromOrigin = new WsAssembler();
  readonly #fromClient: WsReader;
  readonly #fromUpstream: WsReader;
  #end: TunnelResult['end'] | undefined;
  #open = 2;
  /** A message of the client is being judged: chunks that came meanwhile, and whether the client has said all. */
  #awaited: { readonly chunks: Uint8Array[]; readonly bytes: number; ended: boolean } | undefined;
  readonly #share: HeldShare;

  constructor(client: Socket, upstream: Socket, options: WebSocketOptions) {
    const { messageBytes } = options.limits;
    this.#client = client;
    this.#upstream = upstream;
    this.#options = options;
    this.#share = new HeldShare(options.room);
    this.#fromClient = new WsReader({ masked: true, frameBytes: messageBytes, messageBytes });
    const whole = options.clean === undefined ? {} : { messageBytes };
    this.#fromUpstream = new WsReader({ masked: false, frameBytes: messageBytes, ...whole });
  }

  start(): void {
    const { first } = this.#options;
    this.#watch(this.#client, this.#upstream);
    this.#watch(this.#upstream, this.#client);
    if (this.#client.destroyed || this.#upstream.destroyed) return this.#settle();
    if (first !== undefined && first.length > 0) this.#up(first);
    this.#pump(this.#client, this.#upstream, (chunk) => this.#up(chunk));
    this.#pump(this.#upstream, this.#client, (chunk) => this.#down(chunk));
  }

  #watch(from: Socket, to: Socket): void {
    from.setNoDelay(true);
    from.on('error', () => this.#abort('reset'));
    // A socket that goes without "end" was torn down; the other side must not wait for it.
    from.on('close', () => {
      if (!from.readableEnded || !from.writableFinished) this.#abort('reset');
      this.#closed();
    });
    from.on('end', () => {
      if (from === this.#client && this.#awaited !== undefined) this.#awaited.ended = true;
      else this.#endSide(to);
    });
    from.on('drain', () => {
      this.#settleRoom();
      if (to !== this.#client || this.#awaited === undefined) to.resume();
    });
  }

  #pump(from: Socket, to: Socket, pass: (chunk: Uint8Array) => void): void {
    from.on('data', (chunk: Buffer) => {
      if (this.#end !== undefined) return;
      pass(chunk);
      if (this.#end === undefined && to.writableNeedDrain && to.writableLength > 0) from.pause();
    });
    from.resume();
  }

  #up(chunk: Uint8Array): void {
    if (this.#awaited !== undefined) return void this.#awaited.chunks.push(chunk);
    if (this.#take('up', chunk)) this.#pass(this.#fromClient.push(chunk), 0);
    this.#settleRoom();
  }

  /** Judges the frames from `from` on and sends them. */
  #pass(read: WsRead, from: number): void {
    for (const [i, frame] of read.frames.slice(from).entries()) {
      const message = this.#assembler.add(frame);
      if (message === undefined) continue;
      const verdict = message.data.length > 0 ? this.#options.onMessage(message) : undefined;
      if (verdict instanceof Promise)
        return void this.#await(verdict, message.frame, () => this.#pass(read, from + i + 1));
      if (verdict !== undefined) return this.#cut(verdict, WS_CLOSE.policy, 'error');
      this.#toUpstream(message.frame);
    }
    this.#judge(read, 'the program');
  }

  async #await(judged: Promise<Verdict | undefined>, frame: WsFrame, rest: () => void): Promise<void> {
    const awaited = { chunks: [], bytes: frame.payload.length, ended: false };
    this.#awaited = awaited;
    this.#client.pause();
    const verdict = await judged;
    if (this.#end !== undefined) return;
    if (verdict !== undefined) return this.#cut(verdict, WS_CLOSE.policy, 'error');
    this.#toUpstream(frame);
    this.#awaited = undefined;
    rest();
    this.#goOn(awaited);
    this.#settleRoom();
  }

  /** What came while a message was judged. */
  #goOn({ chunks, ended }: { readonly chunks: readonly Uint8Array[]; readonly ended: boolean }): void {
    for (const chunk of chunks) if (this.#end === undefined) this.#up(chunk);
    if (this.#end !== undefined) return;
    if (this.#awaited !== undefined) this.#awaited.ended = ended;
    else if (ended) this.#endSide(this.#upstream);
    else if (!this.#upstream.writableNeedDrain) this.#client.resume();
  }

  #down(chunk: Uint8Array): void {
    if (!this.#take('down', chunk)) return;
    const read = this.#fromUpstream.push(chunk);
    for (const frame of read.frames) this.#toClient(frame);
    this.#judge(read, 'the origin');
    this.#settleRoom();
  }

  /** Takes room for what is held in either direction, and gives back what is not any more. */
  #settleRoom(): void {
    if (this.#end !== undefined) return;
    const read = this.#fromClient.held + this.#assembler.held + (this.#awaited?.bytes ?? 0);
    const answered = this.#fromUpstream.held + this.#fromOrigin.held;
    const unsent = this.#client.writableLength + this.#upstream.writableLength;
    if (this.#share.resize(read + answered + unsent)) return;
    const reason = 'there is no room for its messages beside all others that are held';
    this.#cut({ action: 'deny', rule: 'structural.websocket', reason }, WS_CLOSE.tooBig, 'error');
  }

  #toClient(frame: WsFrame): void {
    const { clean } = this.#options;
    if (clean === undefined) return void this.#client.write(writeWsFrame(frame));
    const message = this.#fromOrigin.add(frame);
    if (message === undefined) return;
    this.#client.write(writeWsFrame({ ...message.frame, payload: clean(message.data) }));
  }

  #toUpstream(frame: WsFrame): void {
    this.#upstream.write(writeWsFrame(frame, randomBytes(4)));
  }

  #judge(read: WsRead, who: string): void {
    const { problem } = read;
    if (problem === undefined) return;
    const reason = `${who} broke the WebSocket protocol: ${problem.why}`;
    this.#cut({ action: 'deny', rule: 'structural.websocket', reason }, problem.code, 'error');
  }

  #take(direction: keyof Meter, chunk: Uint8Array): boolean {
    if (this.#end !== undefined) return false;
    const verdict = this.#options.meter[direction](chunk.length);
    if (verdict === undefined) {
      this.#bytes[direction] += chunk.length;
      return true;
    }
    this.#cut(verdict, WS_CLOSE.policy, 'budget');
    return false;
  }

  /** Both sides get a close frame and a moment to read it; nothing of what was refused goes on. */
  #cut(verdict: Verdict, code: WsCloseCode, end: TunnelResult['end']): void {
    if (this.#end !== undefined) return;
    this.#end = end;
    const toClient = code === WS_CLOSE.policy ? `${verdict.rule}: ${verdict.reason}` : verdict.reason;
    const frame = (reason: string): WsFrame => ({
      fin: true,
      opcode: WS_OPCODE.close,
      payload: closePayload(code, reason),
    });
    // The origin learns no rule and no reason: they are about the sandbox.
    this.#say(this.#client, writeWsFrame(frame(toClient)));
    this.#say(this.#upstream, writeWsFrame(frame(''), randomBytes(4)));
    this.#options.onCut(verdict);
  }

  #say(socket: Socket, lastWord: Buffer): void {
    socket.removeAllListeners('data');
    if (socket.writable) sayAndClose(socket, lastWord, this.#options.limits);
    else reset(socket);
  }

  #abort(why: TunnelResult['end']): void {
    // After a cut each side goes in its own time.
    if (this.#end !== undefined) return;
    this.#end = why;
    reset(this.#client);
    reset(this.#upstream);
  }

  /** Ends one direction; what is left may idle only for a while. */
  #endSide(to: Socket): void {
    if (this.#end !== undefined) return;
    if (to.writable) to.end();
    if (!to.readableEnded) to.setTimeout(this.#options.halfClosedMs, () => this.#abort('reset'));
  }

  #closed(): void {
    if (--this.#open > 0) return;
    this.#share.resize(0);
    this.#options.onEnd({
      upBytes: this.#bytes.up,
      downBytes: this.#bytes.down,
      end: this.#end ?? 'closed',
    });
  }

  /** One side was gone before the relay began: its "close" may already have been. */
  #settle(): void {
    const gone = [this.#client, this.#upstream].filter((socket) => socket.closed).length;
    this.#abort('reset');
    for (let i = 0; i < gone; i++) this.#closed();
  }
}

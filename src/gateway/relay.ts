import { createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { RELAY_KIND, RELAY_PREFACE_BYTES } from '../agent/numbers.ts';
import { addressFromBytes } from '../net/ip.ts';
import type { ListenerSpec } from './contract.ts';
import { readFirst } from './wire.ts';

/** Where a connection was meant to go, as the program inside named it. */
export interface Arrival {
  /** Canonical text. */
  readonly address: string;
  readonly port: number;
}

/** What a relay does with a connection that has shown where it comes from. */
export interface RelayTarget {
  readonly accept: (spec: ListenerSpec, socket: Socket, arrival: Arrival) => void;
  /** A datagram to the name server; its answer, or undefined for none. */
  readonly answer: (message: Uint8Array) => Uint8Array | undefined;
  /** The ssh agent that is lent. Absent: none, and whoever asks for it is cut off. */
  readonly sshAgent?: (socket: Socket) => void;
  readonly handshakeMs: number;
  /** Most connections that have not shown yet what they are. */
  readonly connections: number;
}

/** The preface of a connection (docs/design/agent-protocol.md, "Relay"); all of it is the sandbox's word, and opens nothing by itself. */
interface Preface {
  readonly kind: number;
  readonly id: number;
  readonly arrival: Arrival | undefined;
}

/** Reads of 64 KiB, libuv's slab, so that bulk transfers are not cut into smaller pieces. */
const READ_BYTES = 64 * 1024;

/** Length and token of a datagram. */
const MAIL_HEAD_BYTES = 4;

/** The listening end of one guest's relay. Nothing but that guest reaches the socket. */
export function createRelayServer(): Server {
  return createServer({ allowHalfOpen: true, highWaterMark: READ_BYTES });
}

/**
 * Serves the connections of a guest whose network stack is its own. A listener is found by what the preface says, so a program that
 * reaches the socket itself gets what it would get by connecting to that port, and no more.
 */
export class Relay {
  readonly #listeners: readonly ListenerSpec[];
  readonly #target: RelayTarget;
  /** Those that are nobody's client: not known yet, datagrams, the control connection. */
  readonly #own = new Set<Socket>();
  /** Those of the ssh agent. One that waits for an answer is not read, and would not see its end. */
  readonly #lent = new Set<Socket>();
  #control: Socket | undefined;
  #closed = false;

  constructor(listeners: readonly ListenerSpec[], target: RelayTarget) {
    this.#listeners = listeners;
    this.#target = target;
  }

  /** Takes a connection of the relay's server. */
  serve(socket: Socket): void {
    socket.on('error', () => socket.destroy());
    if (this.#closed || this.#own.size >= this.#target.connections) return void socket.destroy();
    this.#own.add(socket);
    socket.once('close', () => this.#own.delete(socket));
    // A defect in serving one connection must end that connection, closed, and no other.
    this.#serve(socket).catch(() => socket.destroy());
  }

  close(): void {
    this.#closed = true;
    for (const socket of [...this.#own, ...this.#lent]) socket.destroy();
  }

  async #serve(socket: Socket): Promise<void> {
    const preface = await this.#prefaceOf(socket);
    if (preface === undefined) return void socket.destroy();
    if (preface.kind === RELAY_KIND.control) return this.#keepControl(socket);
    if (preface.kind === RELAY_KIND.sshAgent) return this.#lendAgent(socket);
    const { arrival } = preface;
    const spec = this.#listeners.find(
      ({ transport, port }) => RELAY_KIND[transport] === preface.kind && port === arrival?.port,
    );
    if (spec === undefined || arrival === undefined) return void socket.destroy();
    if (spec.transport === 'udp') return this.#answer(socket);
    // One of TCP has an RST of its own, and nothing says in which order two of them arrive.
    if (socket.remoteAddress === undefined) this.#makeResettable(socket, preface.id);
    this.#own.delete(socket);
    this.#target.accept(spec, socket, arrival);
  }

  async #prefaceOf(socket: Socket): Promise<Preface | undefined> {
    const first = await readFirst<Preface>(
      socket,
      (bytes) =>
        bytes.length < RELAY_PREFACE_BYTES ? { state: 'more' } : { state: 'done', value: readPreface(bytes) },
      { timeoutMs: this.#target.handshakeMs, maxBytes: READ_BYTES },
    );
    if (first.state !== 'done') return undefined;
    if (first.bytes.length > RELAY_PREFACE_BYTES) socket.unshift(first.bytes.subarray(RELAY_PREFACE_BYTES));
    return first.value;
  }

  /** It has limits of its own. */
  #lendAgent(socket: Socket): void {
    const { sshAgent } = this.#target;
    if (sshAgent === undefined) return void socket.destroy();
    this.#own.delete(socket);
    this.#lent.add(socket);
    socket.once('close', () => this.#lent.delete(socket));
    sshAgent(socket);
  }

  /** The first one is the agent's: it opens it before anything of the user's runs. */
  #keepControl(socket: Socket): void {
    if (this.#control !== undefined) return void socket.destroy();
    this.#control = socket;
    socket.on('end', () => socket.destroy());
    socket.resume();
  }

  /**
   * A unix socket knows no RST, so the relay is told which connection was cut; it looks for that before it takes the end of one for an
   * orderly end.
   */
  #makeResettable(socket: Socket, id: number): void {
    socket.resetAndDestroy = (): Socket => {
      const word = Buffer.allocUnsafe(4);
      word.writeUInt32LE(id);
      if (this.#control?.writable === true) this.#control.write(word);
      return socket.destroy();
    };
  }

  /** Two bytes of length, two of a token, then the message; its answer comes back with the same token. */
  #answer(socket: Socket): void {
    let pending: Buffer = Buffer.alloc(0);
    socket.on('end', () => socket.destroy());
    socket.on('drain', () => socket.resume());
    socket.on('data', (chunk: Buffer) => {
      pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
      while (pending.length >= MAIL_HEAD_BYTES) {
        const end = MAIL_HEAD_BYTES + pending.readUInt16BE(0);
        if (pending.length < end) break;
        const reply = this.#target.answer(pending.subarray(MAIL_HEAD_BYTES, end));
        if (reply !== undefined) this.#reply(socket, pending.readUInt16BE(2), reply);
        pending = pending.subarray(end);
      }
    });
    socket.resume();
  }

  /** A guest that asks and does not read is asked to wait. */
  #reply(socket: Socket, token: number, reply: Uint8Array): void {
    const head = Buffer.allocUnsafe(MAIL_HEAD_BYTES);
    head.writeUInt16BE(reply.length, 0);
    head.writeUInt16BE(token, 2);
    if (!socket.destroyed && !socket.write(Buffer.concat([head, reply]))) socket.pause();
  }
}

function readPreface(bytes: Buffer): Preface {
  const family = bytes[1];
  const size = family === 4 ? 4 : family === 6 ? 16 : 0;
  const address = size === 0 ? undefined : addressFromBytes(bytes.subarray(8, 8 + size));
  return {
    kind: bytes.readUInt8(0),
    id: bytes.readUInt32LE(4),
    arrival: address === undefined ? undefined : { address: address.text, port: bytes.readUInt16BE(2) },
  };
}

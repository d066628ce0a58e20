import { once } from 'node:events';
import { connect as connectTcp } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect as connectTls } from 'node:tls';
import type { ConnectionOptions, TLSSocket } from 'node:tls';
import { sleep } from '../kit.ts';
import { readResponse } from './http-text.ts';
import type { Response } from './http-text.ts';

/** A client's end of a connection: what came, and whether it is over. */
export class Wire {
  readonly socket: Duplex;
  closed = false;
  /** Bytes that came since `forget`. */
  length = 0;
  #chunks: Buffer[] = [];
  readonly #waiting = new Set<() => void>();

  constructor(socket: Duplex) {
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => {
      this.#chunks.push(chunk);
      this.length += chunk.length;
      this.#wake();
    });
    const over = (): void => {
      this.closed = true;
      this.#wake();
    };
    socket.on('end', over).on('close', over);
    socket.on('error', () => {
      socket.destroy();
      over();
    });
  }

  get bytes(): Buffer {
    if (this.#chunks.length !== 1) this.#chunks = [Buffer.concat(this.#chunks)];
    return this.#chunks[0] ?? Buffer.alloc(0);
  }

  forget(): void {
    this.#chunks = [];
    this.length = 0;
  }

  /** Sends pieces as segments of their own. */
  async send(pieces: readonly Uint8Array[]): Promise<void> {
    for (const [i, piece] of pieces.entries()) {
      if (i > 0) await sleep(5);
      if (!this.socket.destroyed && this.socket.writable) this.socket.write(piece);
    }
  }

  /** Resolves when the condition holds, the connection is over, or time is up. */
  until(condition: () => boolean, ms: number): Promise<void> {
    if (condition() || this.closed) return Promise.resolve();
    return new Promise((resolve) => {
      const check = (): void => {
        if (!condition() && !this.closed) return;
        clearTimeout(timer);
        this.#waiting.delete(check);
        resolve();
      };
      const timer = setTimeout(() => {
        this.#waiting.delete(check);
        resolve();
      }, ms);
      this.#waiting.add(check);
    });
  }

  /** Time in which nothing more comes, or the end of the connection. */
  async quiet(ms: number): Promise<void> {
    for (;;) {
      const before = this.length;
      await this.until(() => this.length !== before, ms);
      if (this.closed || this.length === before) return;
    }
  }

  destroy(): void {
    this.socket.destroy();
  }

  #wake(): void {
    for (const check of [...this.#waiting]) check();
  }
}

/** Longest wait for an answer; the gateway's own limits are shorter. */
export const ANSWER_MS = 6_000;

export async function dial(port: number): Promise<Wire> {
  const socket = connectTcp({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
  const wire = new Wire(socket);
  await Promise.race([once(socket, 'connect'), once(socket, 'close')]);
  return wire;
}

/** Asks for a tunnel; undefined when the proxy refused it, and `wire.bytes` says how. */
export async function connectThrough(wire: Wire, authority: string): Promise<boolean> {
  await wire.send([Buffer.from(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`)]);
  await wire.until(() => wire.bytes.includes('\r\n\r\n'), ANSWER_MS);
  if (wire.bytes.toString('latin1', 0, 12) !== 'HTTP/1.1 200') {
    await wire.until(() => false, 100);
    return false;
  }
  wire.forget();
  return true;
}

export interface SecureWire {
  /** Plaintext; undefined when the handshake failed. */
  readonly wire: Wire | undefined;
  readonly tls: TLSSocket;
  readonly error: string | undefined;
}

/** TLS on a connection that is open already. */
export async function secure(wire: Wire, options: ConnectionOptions): Promise<SecureWire> {
  wire.socket.removeAllListeners('data');
  const tls = connectTls({ ...options, socket: wire.socket });
  let error: string | undefined;
  const inner = new Wire(tls);
  tls.on('error', (cause: NodeJS.ErrnoException) => (error ??= cause.code ?? cause.message));
  const failed = new Promise((resolve) => {
    tls.once('error', resolve).once('close', resolve);
    setTimeout(resolve, ANSWER_MS).unref();
  });
  const isReady = await Promise.race([
    once(tls, 'secureConnect').then(
      () => true,
      () => false,
    ),
    failed.then(() => false),
  ]);
  return { wire: isReady ? inner : undefined, tls, error };
}

export interface Replies {
  /** Final ones. */
  readonly responses: readonly Response[];
  readonly interim: readonly Response[];
  /** What is behind the last whole one. */
  readonly rest: Buffer;
}

/** The responses in what a client received, one for each method. */
export function repliesIn(wire: Pick<Wire, 'bytes' | 'closed'>, methods: readonly string[]): Replies {
  const responses: Response[] = [];
  const interim: Response[] = [];
  let { bytes } = wire;
  while (bytes.length > 0) {
    const method = methods[responses.length] ?? 'GET';
    const read = readResponse(bytes, method, wire.closed);
    if (read.state !== 'whole') break;
    bytes = bytes.subarray(read.used);
    if (read.message.status < 200 && read.message.status !== 101) interim.push(read.message);
    else responses.push(read.message);
    if (read.message.status === 101) break;
  }
  return { responses, interim, rest: bytes };
}

/** Sends a request and waits for its answer. What came before is forgotten. */
export async function exchange(wire: Wire, pieces: readonly Uint8Array[]): Promise<Replies> {
  wire.forget();
  const method = methodOf(pieces[0]);
  const replies = (): Replies => repliesIn(wire, [method]);
  let enough = 0;
  const isAnswered = (): boolean => {
    if (wire.length < enough) return false;
    if (replies().responses.length > 0) return true;
    // A large body is not read again with every segment of it.
    enough = wire.length > 100_000 ? lengthOf(wire.bytes) : 0;
    return false;
  };
  await wire.send(pieces);
  await wire.until(isAnswered, ANSWER_MS);
  // A second answer, or the end of the connection, comes at once or not at all.
  await wire.quiet(12);
  return replies();
}

/** Of the message that begins the bytes, when it says so. */
function lengthOf(bytes: Buffer): number {
  const head = bytes.toString('latin1', 0, Math.min(bytes.length, 16_384)).split('\r\n\r\n')[0] ?? '';
  return head.length + 4 + Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0);
}

function methodOf(piece: Uint8Array | undefined): string {
  return /^\s*([^ ]*)/.exec(Buffer.from(piece ?? []).toString('latin1', 0, 40))?.[1] ?? '';
}

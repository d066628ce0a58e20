import { once } from 'node:events';
import { connect as connectTcp, createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { connect as connectTls, createServer as createTlsServer } from 'node:tls';
import type { TLSSocket } from 'node:tls';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { CertificateAuthority, RootStore } from '../../src/gateway/tls/contract.ts';
import { createRootStore } from '../../src/gateway/tls/roots.ts';
import { portOf, sleep } from './kit.ts';
import { newAuthority, originWorld } from './tls-kit.ts';
import type { OriginWorld } from './tls-kit.ts';

/** Collects what has to be closed after a test, last first. */
export class Closing {
  readonly #closers: (() => Promise<void> | void)[] = [];

  add(close: () => Promise<void> | void): void {
    this.#closers.push(close);
  }

  async all(): Promise<void> {
    for (const close of this.#closers.splice(0).reverse()) await close();
  }
}

/** A client's connection that remembers what came and when it ended. */
export class Client {
  readonly socket: Socket;
  #bytes: Buffer = Buffer.alloc(0);
  #closedAt: number | undefined;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => (this.#bytes = Buffer.concat([this.#bytes, chunk])));
    socket.on('error', () => undefined);
    const gone = (): void => {
      this.#closedAt ??= performance.now();
    };
    socket.on('end', gone).on('close', gone);
  }

  get text(): string {
    return this.#bytes.toString('latin1');
  }

  get closed(): boolean {
    return this.#closedAt !== undefined;
  }

  write(text: string | Uint8Array): void {
    this.socket.write(typeof text === 'string' ? Buffer.from(text, 'latin1') : text);
  }

  /** Waits until what came holds `part`; answers everything so far, and forgets it as far as the part. */
  async saw(part: string, timeoutMs = 5_000): Promise<string> {
    await this.#wait(`"${part}"`, () => this.text.includes(part), timeoutMs);
    const { text } = this;
    this.#bytes = this.#bytes.subarray(text.indexOf(part) + part.length);
    return text;
  }

  /** Waits for the end; answers how many milliseconds after `since` it came. */
  async ended(since = performance.now(), timeoutMs = 5_000): Promise<number> {
    await this.#wait('the end', () => this.closed, timeoutMs);
    return (this.#closedAt ?? 0) - since;
  }

  async #wait(what: string, holds: () => boolean, timeoutMs: number): Promise<void> {
    const limit = performance.now() + timeoutMs;
    while (!holds()) {
      if (performance.now() > limit) throw new Error(`not within ${timeoutMs} ms: ${what}; got ${this.text}`);
      await sleep(3);
    }
  }
}

/** A connection to a local port. */
export async function open(port: number): Promise<Client> {
  const socket = connectTcp({ port, host: '127.0.0.1', noDelay: true });
  await once(socket, 'connect');
  return new Client(socket);
}

/** A tunnel through the proxy port, as far as its 200. */
export async function openConnect(proxy: number, authority: string): Promise<Client> {
  const client = await open(proxy);
  client.write(connectHead(authority));
  await client.saw('200 Connection Established\r\n\r\n');
  return client;
}

export function connectHead(authority: string): string {
  return `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`;
}

export function socksHead(host: string, port: number): Buffer {
  const name = [...Buffer.from(host, 'latin1')];
  return Buffer.from([5, 1, 0, 5, 1, 0, 3, host.length, ...name, port >> 8, port & 255]);
}

/** TLS on an open tunnel, as a program of the sandbox does it. */
export async function secure(
  tunnel: Client,
  host: string,
  ca: string,
  alpn: readonly string[] = ['http/1.1'],
): Promise<{ readonly client: Client; readonly socket: TLSSocket }> {
  tunnel.socket.removeAllListeners('data');
  const socket = connectTls({ socket: tunnel.socket, servername: host, ca, ALPNProtocols: [...alpn] });
  await once(socket, 'secureConnect');
  return { client: new Client(socket), socket };
}

/** What TLS tests share: an authority for the sandbox, and a world of origins that the gateway trusts. */
export interface TlsWorld {
  readonly authority: CertificateAuthority;
  readonly world: OriginWorld;
  readonly roots: RootStore;
  readonly dir: string;
  close(): void;
}

export function tlsWorld(): TlsWorld {
  const world = originWorld();
  const dir = mkdtempSync(path.join(tmpdir(), 'gw-world-'));
  const bundle = path.join(dir, 'world.pem');
  writeFileSync(bundle, world.caPem);
  return {
    authority: newAuthority(),
    world,
    dir,
    roots: createRootStore({ env: {}, bundles: [bundle] }),
    close: () => rmSync(dir, { recursive: true, force: true }),
  };
}

/** A server whose every connection is handled by one function. */
export interface RawServer {
  readonly port: number;
  readonly sockets: ReadonlySet<Socket>;
  /** Connections so far. */
  readonly count: () => number;
  readonly close: () => Promise<void>;
}

export async function rawServer(
  serve: (socket: Socket) => void,
  tls?: { readonly key: string; readonly cert: string; readonly ALPNProtocols?: string[] },
): Promise<RawServer> {
  const sockets = new Set<Socket>();
  let count = 0;
  const accept = (socket: Socket): void => {
    count++;
    socket.on('error', () => socket.destroy());
    serve(socket);
  };
  const server: Server =
    tls === undefined
      ? createServer({ allowHalfOpen: true, noDelay: true }, accept)
      : createTlsServer(tls, accept);
  server.on('connection', (socket: Socket) => {
    sockets.add(socket.on('close', () => sockets.delete(socket)).on('error', () => socket.destroy()));
  });
  server.on('tlsClientError', () => undefined);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const close = async (): Promise<void> => {
    for (const socket of sockets) socket.destroy();
    server.close();
    await once(server, 'close');
  };
  return { port: portOf(server), sockets, count: () => count, close };
}
